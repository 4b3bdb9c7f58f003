// Files of this computer: each member of a party opens its own copy. No file is uploaded.

import { fileTitle, parsedTitle } from './titles.js';

const MEASURE_WITHIN_MS = 20_000;
// Two copies of a film that were made differently may differ by so many seconds.
const SAME_SECONDS = 2.5;

/*
 * Return the duration of a file in seconds, 0 if it is unknown. The promise is rejected with a MediaError if the browser cannot
 * play the file.
 */
function measured(address) {
  return new Promise((resolve, reject) => {
    const probe = document.createElement('video');
    const settle = (act, value) => {
      clearTimeout(limit);
      probe.removeAttribute('src');
      probe.load();
      act(value);
    };
    const limit = setTimeout(() => settle(resolve, 0), MEASURE_WITHIN_MS);
    probe.onloadedmetadata = () => settle(resolve, Number.isFinite(probe.duration) ? probe.duration : 0);
    probe.onerror = () => probe.getAttribute('src') && settle(reject, probe.error);
    probe.muted = true;
    probe.preload = 'metadata';
    probe.src = address;
  });
}

/*
 * Return how a copy differs from a title: {seconds, bytes}, as far as the differences matter, or null. Both are the copy's
 * minus the title's.
 */
export function difference(copy, title) {
  const { duration, size } = parsedTitle(title);
  const seconds = duration && copy.duration ? copy.duration - duration : 0;
  const bytes = copy.size - size;
  if (Math.abs(seconds) <= SAME_SECONDS && !bytes) return null;
  return { seconds: Math.abs(seconds) > SAME_SECONDS ? seconds : 0, bytes };
}

export class LocalFiles {
  // {file, address, duration, size} by title, for as long as the page is open.
  #copies = new Map();

  // Return the title of a file. The promise is rejected if the browser cannot play it.
  async titleOf(file) {
    const copy = await this.#open(file);
    const title = fileTitle(file.name, copy.duration, file.size);
    this.#keep(title, copy);
    return title;
  }

  // Take a file as this member's copy for a title. Returns the difference. See titleOf.
  async openFor(title, file) {
    const copy = await this.#open(file);
    this.#keep(title, copy);
    return difference(copy, title);
  }

  // The address of this member's copy for a title, or null.
  addressFor(title) {
    return this.#copies.get(title)?.address ?? null;
  }

  differenceFor(title) {
    const copy = this.#copies.get(title);
    return copy ? difference(copy, title) : null;
  }

  // Whether the copy can still be read: it may have been moved or changed.
  async isReadable(title) {
    const copy = this.#copies.get(title);
    if (!copy) return false;
    try {
      await copy.file.slice(0, 1).arrayBuffer();
      return true;
    } catch {
      return false;
    }
  }

  async #open(file) {
    const address = URL.createObjectURL(file);
    try {
      return { file, address, duration: await measured(address), size: file.size };
    } catch (error) {
      URL.revokeObjectURL(address);
      throw error;
    }
  }

  #keep(title, copy) {
    const old = this.#copies.get(title);
    if (old) URL.revokeObjectURL(old.address);
    this.#copies.set(title, copy);
  }
}
