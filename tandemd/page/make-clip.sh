#!/bin/sh
# Makes clip.mp4, the film of a first party: 90 s, a running timecode, a bar, a soft tick every second.
# Needs ffmpeg and the DejaVu fonts (Debian: apt-get install ffmpeg fonts-dejavu-core). Run it in this directory.
set -eu
ffmpeg -hide_banner -loglevel error -y \
  -f lavfi -i "color=c=0x14231f:s=960x540:r=25:d=90" \
  -f lavfi -i "color=c=0x7fd6b8:s=800x6:r=25:d=90" \
  -f lavfi -i "aevalsrc='if(lt(mod(t,1),0.04),0.15*sin(2*PI*660*t),0)':s=44100:d=90" \
  -filter_complex "
    [0]drawbox=x=80:y=440:w=800:h=6:color=0x2b4a42:t=fill[ground];
    [ground][1]overlay=x='80-800+800*t/90':y=440,
    drawbox=x=0:y=440:w=80:h=6:color=0x14231f:t=fill,
    drawtext=font='DejaVu Sans Mono':text='%{pts\:hms}':x=(w-tw)/2:y=200:fontsize=92:fontcolor=0xf2f5f1,
    drawtext=font='DejaVu Sans':text='tandemd':x=80:y=60:fontsize=32:fontcolor=0x7fd6b8[picture]" \
  -map "[picture]" -map 2:a -t 90 -map_metadata -1 -fflags +bitexact -flags:v +bitexact -flags:a +bitexact \
  -c:v libx264 -preset veryslow -crf 34 -g 50 -pix_fmt yuv420p \
  -c:a aac -b:a 24k -ac 1 -movflags +faststart clip.mp4
