// Subtitles of the member's own: WebVTT, or SRT, which browsers cannot read and which is converted here.

const TIME = String.raw`(?:\d{1,4}:)?\d{1,2}:\d{1,2}[.,]\d{1,3}`;
const TIMES = new RegExp(String.raw`^\s*(${TIME})\s*-->\s*(${TIME})(.*)$`);

// Return the text of a file: UTF-8 or UTF-16 with its mark, else Windows-1252, as old SRT files are.
export function subtitleText(bytes) {
  const [first, second] = new Uint8Array(bytes.slice(0, 2));
  if (first === 0xff && second === 0xfe) return new TextDecoder('utf-16le').decode(bytes);
  if (first === 0xfe && second === 0xff) return new TextDecoder('utf-16be').decode(bytes);
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch {
    return new TextDecoder('windows-1252').decode(bytes);
  }
}

function vttTime(written) {
  const [, h = '0', m, s, ms] = /^(?:(\d+):)?(\d+):(\d+)[.,](\d+)$/.exec(written);
  return `${h.padStart(2, '0')}:${m.padStart(2, '0')}:${s.padStart(2, '0')}.${ms.padEnd(3, '0')}`;
}

/*
 * Return subtitles as WebVTT, '' if the text has none. Of SRT, the tags that WebVTT has too are kept; all other marks of
 * formats become text or are left out.
 */
export function webVtt(text) {
  const lines = text.replace(/^\ufeff/, '').replace(/\r\n?/g, '\n');
  if (/^WEBVTT(?:[ \t\n]|$)/.test(lines)) return lines.includes('-->') ? lines : '';
  const cues = [];
  let cue = null;
  for (const line of lines.split('\n')) {
    const times = TIMES.exec(line);
    if (times) {
      // The line before it is the number of the cue.
      if (cue && /^\s*\d+\s*$/.test(cue.lines.at(-1) ?? '')) cue.lines.pop();
      cue = { times: `${vttTime(times[1])} --> ${vttTime(times[2])}`, lines: [] };
      cues.push(cue);
    } else if (cue) {
      cue.lines.push(line);
    }
  }
  const shown = cues.map(({ times, lines: words }) => ({ times, words: words.map(cueLine).filter(Boolean).join('\n') }));
  const kept = shown.filter(({ words }) => words).map(({ times, words }) => `${times}\n${words}\n`);
  return kept.length ? `WEBVTT\n\n${kept.join('\n')}` : '';
}

function cueLine(line) {
  const plain = line.trim().replace(/\{\\[^}]*\}/g, '').replace(/<\/?font[^>]*>/gi, '');
  const escaped = plain.replace(/&(?!(?:amp|lt|gt|nbsp|lrm|rlm|#\d+);)/g, '&amp;').replace(/-->/g, '→');
  return escaped.replace(/<(?!\/?[biu]>)/gi, '&lt;').replace(/<(\/?)([BIU])>/g, (_, end, tag) => `<${end}${tag.toLowerCase()}>`);
}

// The subtitles of a video element: one file at a time.
export class Subtitles {
  #video;
  #track = null;
  #address = '';

  constructor(video) {
    this.#video = video;
  }

  // Show the subtitles of a file. bytes: its content. Returns whether it has any.
  show(bytes, label) {
    const content = webVtt(subtitleText(bytes));
    if (!content) return false;
    this.hide();
    this.#address = URL.createObjectURL(new Blob([content], { type: 'text/vtt' }));
    const track = document.createElement('track');
    Object.assign(track, { kind: 'subtitles', label, src: this.#address, default: true });
    this.#video.append(track);
    track.track.mode = 'showing';
    this.#track = track;
    return true;
  }

  hide() {
    this.#track?.remove();
    this.#track = null;
    if (this.#address) URL.revokeObjectURL(this.#address);
    this.#address = '';
  }
}
