// The optional abilities of browsers that the whole page needs. Each may be missing, forbidden, or throw; no module of the page
// touches them but this one, display.js and overlays.js.
//
// Every function looks at the ability when it is called, and falls back to the behaviour that its comment names.

import { Environment } from '../client/environment.js';

// The abilities that the client library uses, too: time, storage, locks, media keys, visibility.
export const environment = new Environment();

// See Environment.
export const stored = (area, key) => environment.stored(area, key);
export const store = (area, key, value) => environment.store(area, key, value);
export const discard = (area, key) => environment.discard(area, key);
export const isHidden = () => environment.isHidden();
export const onReturn = (listener) => environment.onReturn(listener);

// Copy the text of an input element. Return whether it is on the clipboard. Fallback: the old command, then the selected
// text for the person to copy.
export async function copyText(input) {
  input.focus();
  input.select();
  try {
    await navigator.clipboard.writeText(input.value);
    return true;
  } catch {
    try {
      return document.execCommand('copy');
    } catch {
      return false;
    }
  }
}

// -- the address line

// Replace the address that the browser shows. Fallback: it stays.
export function replaceAddress(address) {
  try {
    history.replaceState(null, '', address);
  } catch {
    // Forbidden in some frames, and if it is called too often.
  }
}

// Return the parts of an address, or null.
export function parsedAddress(text) {
  try {
    return new URL(text);
  } catch {
    return null;
  }
}

// -- languages

// Return the languages of the person, the best first. Fallback: none.
export function preferredLanguages() {
  try {
    return [...navigator.languages];
  } catch {
    return [];
  }
}
