// What is known against a film before any attempt to play it.

import { isAllowed, parsedTitle } from './titles.js';

const TYPES = {
  avi: 'video/x-msvideo',
  m3u8: 'application/vnd.apple.mpegurl',
  mkv: 'video/x-matroska',
  mov: 'video/quicktime',
  mpd: 'application/dash+xml',
  wmv: 'video/x-ms-wmv',
};

// The ending of an address or a name, in small letters, or ''.
export function endingOf(address) {
  return /\.([a-z0-9]{2,4})$/i.exec(address.replace(/[?#].*$/, ''))?.[1].toLowerCase() ?? '';
}

/*
 * Return why a title cannot play on this page, before any attempt: 'mixed' for an http film on an https page, 'notAllowed',
 * 'hls' for a stream that only some browsers play, 'format', or ''. entries: the server's allow-list, null if it is unknown.
 */
export function obstacle(url, entries, video, pageProtocol = location.protocol) {
  const { kind, name } = parsedTitle(url);
  if (kind === 'none') return '';
  if (entries && !isAllowed(url, entries)) return 'notAllowed';
  if (kind !== 'web' && kind !== 'video') return '';
  if (kind === 'web' && pageProtocol === 'https:' && /^http:/i.test(url)) return 'mixed';
  const ending = endingOf(kind === 'web' ? url : name);
  const type = TYPES[ending];
  if (!type || video.canPlayType(type) || ['mov', 'mkv'].includes(ending)) return '';
  return ending === 'm3u8' ? 'hls' : 'format';
}
