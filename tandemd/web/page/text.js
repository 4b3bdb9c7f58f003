// Addresses and directions of text. Needs no browser.

// The address of a web page as the browser writes it, '' for any other text. The server writes it the same.
export function webAddress(text) {
  if (!/^https?:\/\/./i.test(text)) return '';
  try {
    return new URL(text).href;
  } catch {
    return '';
  }
}

// An address without its scheme, for people: with the letters that its escapes stand for, unless one of them is invisible.
export function shownAddress(url) {
  const short = url.replace(/^https?:\/\//i, '');
  try {
    const decoded = decodeURI(short);
    return /[\p{C}\p{Z}]/u.test(decoded) ? short : decoded;
  } catch {
    return short;
  }
}

// A member's words within a sentence: letters that are written from right to left do not turn the sentence around.
export function isolated(words) {
  return /[\u0590-\u08ff\u200f\u202b\u202e\u2067\ufb1d-\ufefc\u{10800}-\u{10fff}\u{1e800}-\u{1efff}]/u.test(words)
    ? `\u2068${words}\u2069`
    : words;
}
