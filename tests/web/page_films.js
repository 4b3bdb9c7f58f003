// The modules about films that need no browser: titles, subtitles, and what is known against a film.

import assert from 'node:assert/strict';
import { endingOf, obstacle } from './film-obstacles.js';
import { isSeekable } from './film-problems.js';
import { difference } from './local-file.js';
import { subtitleText, webVtt } from './subtitles.js';
import { CLIP, fileTitle, isAllowed, parsedTitle, videoTitle, VIDEOS } from './titles.js';

// -- titles

assert.equal(
  fileTitle('Film (1) #?&%.mp4', 5400.0404, 12),
  'https://tandemd.invalid/file/Film%20(1)%20%23%3F%26%25.mp4?duration=5400.04&size=12',
);
for (const name of ['a/b\\c\u202e\u0000d.mp4', '..', '.', '', 'u\u0308.mp4', `${'\u0444'.repeat(300)}.mp4`, '\u{1f600}'.repeat(200)]) {
  const title = fileTitle(name, 0, 7);
  assert.ok(title.length < 1100, title);
  const parsed = parsedTitle(title);
  assert.equal(parsed.kind, 'file');
  assert.doesNotMatch(parsed.name, /[/\\\p{Cc}\p{Cf}]|^\./u);
  assert.deepEqual([parsed.duration, parsed.size], [0, 7]);
  assert.equal(new URL(title).href, title);
}
assert.match(parsedTitle(fileTitle(`${'x'.repeat(300)}.mkv`, 0, 7)).name, /^x{70}….*\.mkv$/);
assert.equal(videoTitle('A b/\u00fc#.mp4'), `${VIDEOS}/A%20b/%C3%BC%23.mp4`);
assert.deepEqual(parsedTitle(videoTitle('A b/\u00fc#.mp4')), { kind: 'video', name: '\u00fc#.mp4', path: 'A b/\u00fc#.mp4' });
for (const [url, kind] of [
  [CLIP, 'clip'],
  ['https://films.example/file/a.mp4', 'web'],
  ['https://tandemd.invalid/other', 'none'],
  ['javascript:alert(1)', 'none'],
  ['', 'none'],
]) {
  assert.equal(parsedTitle(url).kind, kind);
}
console.log('TITLES', JSON.stringify(['Film (1) #?&%.mp4', "a'b!c*d~.mp4", '\u00fc\u{1f600}.mp4'].map((name) => fileTitle(name, 1.5, 9))));

// -- the server's allow-list

const film = 'https://films.example/public/a.mp4';
for (const [entries, url, allowed] of [
  [['*'], 'http://films.example/a', true],
  [['https://*'], film, true],
  [['https://*'], 'http://films.example/a', false],
  [['https://films.example/public'], film, true],
  [['https://films.example/public'], 'https://films.example/publicity', false],
  [['https://films.example/public'], 'https://films.example/public/../private', false],
  [['https://films.example'], 'https://films.example:444/', false],
  [['*'], `${VIDEOS}/a.mp4`, false],
  [[VIDEOS], `${VIDEOS}/a.mp4`, true],
  [['https://tandemd.invalid/file'], fileTitle('a', 1, 1), true],
  [[], film, false],
  [['*'], 'ftp://films.example/', false],
]) {
  assert.equal(isAllowed(url, entries), allowed, `${entries} ${url}`);
}

// -- what is known against a film

const plays = (...types) => ({ canPlayType: (type) => (types.includes(type) ? 'maybe' : '') });
assert.equal(obstacle(film, null, plays(), 'http:'), '');
assert.equal(obstacle(film, ['https://other.example'], plays(), 'http:'), 'notAllowed');
assert.equal(obstacle('http://films.example/a.mp4', ['*'], plays(), 'https:'), 'mixed');
assert.equal(obstacle('http://films.example/a.mp4', ['*'], plays(), 'http:'), '');
assert.equal(obstacle('https://films.example/a.avi?x=.mp4', ['*'], plays(), 'https:'), 'format');
assert.equal(obstacle('https://films.example/a.m3u8', ['*'], plays('application/vnd.apple.mpegurl'), 'https:'), '');
assert.equal(obstacle('https://films.example/a.m3u8?b', ['*'], plays(), 'https:'), 'hls');
assert.equal(obstacle(`${VIDEOS}/a/b.m3u8`, [VIDEOS], plays(), 'http:'), 'hls');
assert.equal(obstacle(`${VIDEOS}/a/b.mp4`, [VIDEOS], plays(), 'http:'), '');
assert.equal(obstacle('https://films.example/a.mkv', ['*'], plays(), 'https:'), '');
assert.equal(obstacle('', ['*'], plays(), 'https:'), '');
assert.equal(endingOf('https://films.example/a.MP4?b.avi#c.avi'), 'mp4');
const seekable = (end) => ({ length: 1, end: () => end });
assert.equal(isSeekable({ duration: 90, seekable: seekable(0) }), false);
assert.equal(isSeekable({ duration: 90, seekable: { length: 0 } }), false);
assert.equal(isSeekable({ duration: 90, seekable: seekable(90) }), true);
assert.equal(isSeekable({ duration: Infinity, seekable: seekable(0) }), true);

// -- copies

const title = fileTitle('a.mp4', 100, 1000);
assert.equal(difference({ duration: 102.5, size: 1000 }, title), null);
assert.deepEqual(difference({ duration: 102.6, size: 1000 }, title), { seconds: 102.6 - 100, bytes: 0 });
assert.deepEqual(difference({ duration: 101, size: 999 }, title), { seconds: 0, bytes: -1 });
assert.equal(difference({ duration: 0, size: 1000 }, title), null);

// -- subtitles

const srt = '\ufeff1\r\n00:00:01,500 --> 00:00:02,000 X1:40\r\n<i>One</i> {\\an8}<font color="red">red</font>\r\n\r\n'
  + '2\r\n0:0:3,5 --> 00:00:04,000\r\nA < B & C\r\nsecond --> line\r\n\r\n3\r\n00:01:00,000 --> 00:01:01,000\r\n\r\n'
  + '100\n00:01:02.250 --> 00:01:03.000\n42\n';
assert.equal(
  webVtt(srt),
  'WEBVTT\n\n00:00:01.500 --> 00:00:02.000\n<i>One</i> red\n\n00:00:03.500 --> 00:00:04.000\nA &lt; B &amp; C\nsecond → line\n\n'
    + '00:01:02.250 --> 00:01:03.000\n42\n',
);
const vtt = 'WEBVTT\r\n\r\n00:01.000 --> 00:02.000\r\nOne';
assert.equal(webVtt(vtt), vtt.replaceAll('\r\n', '\n'));
for (const text of ['', 'WEBVTT\n', 'no subtitles', '\0\0\0', '1\n00:00:01,500 -->']) assert.equal(webVtt(text), '');
const bytes = (...values) => new Uint8Array(values).buffer;
assert.equal(subtitleText(bytes(0xc3, 0xbc)), '\u00fc');
assert.equal(subtitleText(bytes(0xfc, 0xe9)), '\u00fc\u00e9');
assert.equal(subtitleText(bytes(0xff, 0xfe, 0xfc, 0)), '\u00fc');
assert.equal(subtitleText(bytes()), '');
// A text of any length and form is converted in a time that grows with its length.
webVtt('00:00:01,500 --> 00:00:02,000\n'.repeat(100_000) + '<'.repeat(100_000));
