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
 * 'format', or ''. entries: the server's allow-list, null if it is unknown.
 */
export function obstacle(url, entries, video, pageProtocol = location.protocol) {
  const { kind } = parsedTitle(url);
  if (kind === 'none') return '';
  if (entries && !isAllowed(url, entries)) return 'notAllowed';
  if (kind !== 'web') return '';
  if (pageProtocol === 'https:' && /^http:/i.test(url)) return 'mixed';
  const type = TYPES[endingOf(url)];
  return type && !video.canPlayType(type) && !['mov', 'mkv'].includes(endingOf(url)) ? 'format' : '';
}
