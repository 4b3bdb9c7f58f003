// Titles: films of web addresses, and those of the host tandemd.invalid, which each page takes from its own place. Needs no
// browser.

import { webAddress } from './text.js';

const LOCAL = 'https://tandemd.invalid/';
export const CLIP = `${LOCAL}clip`;
export const VIDEOS = `${LOCAL}videos`;

// The server takes up to 200 characters; the URL of a name in another alphabet is several times as long.
const NAME_CHARS = 80;

const decoded = (text) => {
  try {
    return decodeURIComponent(text);
  } catch {
    return '';
  }
};

// Return the title of a file of which each member opens a copy. duration: seconds, 0 if unknown. size: bytes.
export function fileTitle(name, duration, size) {
  const letters = [...name.normalize('NFC').replace(/[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}/\\]+/gu, ' ').trim()];
  const [head, tail] = [letters.slice(0, NAME_CHARS - 10), letters.slice(-10)];
  const short = letters.length > NAME_CHARS ? [...head, '…', ...tail] : letters;
  // A browser reads the names . and .. as directories.
  const shown = short.join('').replace(/^\.*/, '') || 'film';
  return `${LOCAL}file/${encodeURIComponent(shown)}?duration=${Math.round(duration * 1000) / 1000}&size=${size}`;
}

// Return the title of a film of the server. path: below its directory, with slashes.
export function videoTitle(path) {
  return `${VIDEOS}/${path.split('/').map(encodeURIComponent).join('/')}`;
}

/*
 * Return the parts of a title: kind is 'clip', 'file' with name, duration and size, 'video' with name and path, 'web', or
 * 'none'.
 */
export function parsedTitle(url) {
  const address = webAddress(url);
  if (!address) return { kind: 'none', name: '' };
  if (address === CLIP) return { kind: 'clip', name: '' };
  const { origin, pathname, searchParams } = new URL(address);
  if (`${origin}/` !== LOCAL) return { kind: 'web', name: '' };
  const path = pathname.split('/').slice(2).map(decoded);
  const name = path.at(-1) ?? '';
  if (pathname.startsWith('/videos/')) return { kind: 'video', name, path: path.join('/') };
  const number = (key) => Number(searchParams.get(key)) || 0;
  if (pathname.startsWith('/file/')) return { kind: 'file', name, duration: number('duration'), size: number('size') };
  return { kind: 'none', name: '' };
}

// Whether the entries of the server's allow-list (`titles` of /api/config) allow a title.
export function isAllowed(url, entries) {
  const address = webAddress(url);
  if (!address) return false;
  const { protocol, origin, pathname } = new URL(address);
  const isVideo = address.startsWith(`${VIDEOS}/`);
  return entries.some((entry) => {
    if (entry === VIDEOS) return isVideo;
    if (isVideo) return false;
    if (entry === '*' || entry === `${protocol}//*`) return true;
    const allowed = webAddress(entry) && new URL(entry);
    if (!allowed || allowed.origin !== origin) return false;
    const path = allowed.pathname.replace(/\/$/, '');
    return pathname === path || pathname.startsWith(`${path}/`);
  });
}
