// The abilities of the browser, or of Node, that the library uses. Each may be missing, forbidden, or throw; no other module
// touches them. Every method looks at the ability when it is called, and falls back to the behaviour that its comment names.

import { UnsupportedError } from './errors.js';

const AREAS = { tab: 'sessionStorage', browser: 'localStorage' };
const LETTERS = '0123456789abcdefghijklmnopqrstuvwxyz';

export class Environment {
  #given;
  #latest = 0;
  #memory = { tab: new Map(), browser: new Map() };

  // given: replacements by the name of the global, such as {WebSocket}. All others are the globals of that name.
  constructor(given = {}) {
    this.#given = given;
  }

  #ability(name) {
    return Object.hasOwn(this.#given, name) ? this.#given[name] : globalThis[name];
  }

  // -- time

  // Milliseconds that have passed, from an arbitrary start. The clock of the computer may be set, and this does not step.
  // Without performance.now: the computer's clock, never backwards.
  elapsedMs() {
    try {
      return this.#ability('performance').now();
    } catch {
      this.#latest = Math.max(this.#latest, this.#ability('Date').now());
      return this.#latest;
    }
  }

  setTimeout(run, ms) {
    return this.#ability('setTimeout')(run, ms);
  }

  clearTimeout(timer) {
    this.#ability('clearTimeout')(timer);
  }

  setInterval(run, ms) {
    return this.#ability('setInterval')(run, ms);
  }

  clearInterval(timer) {
    this.#ability('clearInterval')(timer);
  }

  // -- network

  // Open a WebSocket. Throws an UnsupportedError where the program has none, because nothing works without it.
  openSocket(url) {
    const Socket = this.#ability('WebSocket');
    if (typeof Socket !== 'function') {
      throw new UnsupportedError('This program has no WebSocket. Pass one: new Environment({ WebSocket }).');
    }
    return new Socket(url);
  }

  // -- random numbers

  // Return a number from 0 to below 1, to spread attempts in time.
  random() {
    return Math.random();
  }

  // Return random bytes. Fallback: Math.random, which other pages cannot observe either.
  randomBytes(length) {
    const bytes = new Uint8Array(length);
    try {
      return this.#ability('crypto').getRandomValues(bytes);
    } catch {
      return bytes.map(() => Math.floor(Math.random() * 256));
    }
  }

  // Return a random word of small letters and digits.
  randomWord(length) {
    // 252 is the greatest multiple of 36 in a byte: without it, some letters would come more often.
    let word = '';
    while (word.length < length) {
      for (const byte of this.randomBytes(length)) {
        if (byte < 252 && word.length < length) word += LETTERS[byte % 36];
      }
    }
    return word;
  }

  // -- storage. area: 'tab' for the session of this tab, 'browser' for all tabs. Fallback: this object, until a reload.

  // Return a stored value, or null.
  stored(area, key) {
    if (this.#memory[area].has(key)) return this.#memory[area].get(key);
    try {
      return JSON.parse(this.#ability(AREAS[area]).getItem(key));
    } catch {
      return null;
    }
  }

  store(area, key, value) {
    try {
      this.#ability(AREAS[area]).setItem(key, JSON.stringify(value));
      this.#memory[area].delete(key);
    } catch {
      // A full storage may still hold the old value.
      this.#memory[area].set(key, value);
    }
  }

  discard(area, key) {
    this.#memory[area].delete(key);
    try {
      this.#ability(AREAS[area]).removeItem(key);
    } catch {
      // The storage cannot hold the key.
    }
  }

  /*
   * Hold a lock that all tabs share, until this page ends. The promise is resolved with 'held', with 'taken' if another tab
   * holds it for as long as withinMs, or with 'unknown' if the browser cannot tell.
   */
  holdLock(name, withinMs) {
    return new Promise((resolve) => {
      // A browser that never answers must not stop the page.
      const late = this.setTimeout(() => resolve('unknown'), withinMs + 500);
      const settle = (result) => {
        this.clearTimeout(late);
        resolve(result);
      };
      try {
        const abort = new (this.#ability('AbortController'))();
        const limit = this.setTimeout(() => abort.abort(), withinMs);
        const held = () => {
          this.clearTimeout(limit);
          settle('held');
          return new Promise(() => {});
        };
        const ended = () => settle(abort.signal.aborted ? 'taken' : 'unknown');
        this.#ability('navigator').locks.request(name, { signal: abort.signal }, held).catch(ended);
      } catch {
        settle('unknown');
      }
    });
  }

  // -- the system's player controls

  // Call handlers[action] for the media keys and the system's player controls. Fallback: these do nothing.
  onMediaKeys(handlers) {
    for (const [action, handler] of Object.entries(handlers)) {
      try {
        this.#ability('navigator').mediaSession.setActionHandler(action, handler);
      } catch {
        // This action or all of them are unknown.
      }
    }
  }

  // -- visibility

  // Whether the page is hidden, for example behind another tab. Fallback: it is not.
  isHidden() {
    return this.#ability('document')?.visibilityState === 'hidden';
  }

  /*
   * Call listener when the page becomes visible, when the back button restores it, and when the network is back: its
   * connections may be dead. Returns a function that ends this. Fallback: it is never called.
   */
  onReturn(listener) {
    const ends = [];
    for (const [name, type, counts] of [
      ['document', 'visibilitychange', () => !this.isHidden()],
      ['window', 'online', () => true],
      ['window', 'pageshow', (event) => event.persisted],
    ]) {
      const target = this.#ability(name);
      if (typeof target?.addEventListener !== 'function') continue;
      const heard = (event) => counts(event) && listener();
      target.addEventListener(type, heard);
      ends.push(() => target.removeEventListener(type, heard));
    }
    return () => ends.forEach((end) => end());
  }

  // -- calls. Fallback: `canCall` is false, or `mediaDevices` is null, as on http pages, which have no camera.

  get canCall() {
    return typeof this.#ability('RTCPeerConnection') === 'function' && typeof this.#ability('MediaStream') === 'function';
  }

  openPeerConnection(configuration) {
    return new (this.#ability('RTCPeerConnection'))(configuration);
  }

  newMediaStream() {
    return new (this.#ability('MediaStream'))();
  }

  get mediaDevices() {
    return this.#ability('navigator')?.mediaDevices ?? null;
  }

  // Call listener when the network is back, or is another one. Returns a function that ends this. Fallback: it is never called.
  onNetwork(listener) {
    const target = this.#ability('window');
    if (typeof target?.addEventListener !== 'function') return () => {};
    target.addEventListener('online', listener);
    return () => target.removeEventListener('online', listener);
  }
}
