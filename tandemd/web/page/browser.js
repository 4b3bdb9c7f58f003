// The optional abilities of browsers. Each may be missing, forbidden, or throw; no other module touches them.
//
// Every function looks at the ability when it is called, and falls back to the behaviour that its comment names.

// Milliseconds that have passed, from an arbitrary start. The clock of the computer may be set, and this does not step.
// Without performance.now: the computer's clock, never backwards.
let latest = 0;
export function elapsedMs() {
  try {
    return performance.now();
  } catch {
    latest = Math.max(latest, Date.now());
    return latest;
  }
}

// -- storage. area: 'tab' for the session of this tab, 'browser' for all tabs. Fallback: this page's memory, until a reload.

const AREAS = { tab: 'sessionStorage', browser: 'localStorage' };
const memory = { tab: new Map(), browser: new Map() };

// Return a stored value, or null.
export function stored(area, key) {
  if (memory[area].has(key)) return memory[area].get(key);
  try {
    return JSON.parse(globalThis[AREAS[area]].getItem(key));
  } catch {
    return null;
  }
}

export function store(area, key, value) {
  try {
    globalThis[AREAS[area]].setItem(key, JSON.stringify(value));
    memory[area].delete(key);
  } catch {
    // A full storage may still hold the old value.
    memory[area].set(key, value);
  }
}

export function discard(area, key) {
  memory[area].delete(key);
  try {
    globalThis[AREAS[area]].removeItem(key);
  } catch {
    // The storage cannot hold the key.
  }
}

/*
 * Hold a lock that all tabs share, until this page ends. The promise is resolved with 'held', with 'taken' if another tab
 * holds it for as long as withinMs, or with 'unknown' if the browser cannot tell.
 */
export function holdLock(name, withinMs) {
  return new Promise((resolve) => {
    // A browser that never answers must not stop the page.
    const late = setTimeout(() => resolve('unknown'), withinMs + 500);
    const settle = (result) => {
      clearTimeout(late);
      resolve(result);
    };
    try {
      const abort = new AbortController();
      const limit = setTimeout(() => abort.abort(), withinMs);
      const held = () => {
        clearTimeout(limit);
        settle('held');
        return new Promise(() => {});
      };
      const ended = () => settle(abort.signal.aborted ? 'taken' : 'unknown');
      navigator.locks.request(name, { signal: abort.signal }, held).catch(ended);
    } catch {
      settle('unknown');
    }
  });
}

// Return random bytes. Fallback: Math.random, which other pages cannot observe either.
export function randomBytes(length) {
  const bytes = new Uint8Array(length);
  try {
    return crypto.getRandomValues(bytes);
  } catch {
    return bytes.map(() => Math.floor(Math.random() * 256));
  }
}

// Call handlers[action] for the media keys and the system's player controls. Fallback: these do nothing.
export function onMediaKeys(handlers) {
  for (const [action, handler] of Object.entries(handlers)) {
    try {
      navigator.mediaSession.setActionHandler(action, handler);
    } catch {
      // This action or all of them are unknown.
    }
  }
}

// Whether the page is hidden, for example behind another tab. Fallback: it is not.
export function isHidden() {
  return document.visibilityState === 'hidden';
}

// Call listener when the page becomes visible, when the back button restores it, and when the network is back: its
// connections may be dead.
export function onReturn(listener) {
  document.addEventListener('visibilitychange', () => isHidden() || listener());
  addEventListener('online', () => listener());
  addEventListener('pageshow', (event) => event.persisted && listener());
}

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

// -- full screen. Some browsers know it under another name, some for videos only, some not at all.

export function canFillScreen(video) {
  return Boolean(document.fullscreenEnabled || document.webkitFullscreenEnabled || video.webkitSupportsFullscreen);
}

// Show a box, or only its video, on the whole screen, or end that. Fallback: nothing happens.
export async function toggleFullScreen(box, video) {
  try {
    if (document.fullscreenElement ?? document.webkitFullscreenElement) {
      await (document.exitFullscreen ?? document.webkitExitFullscreen).call(document);
    } else if (box.requestFullscreen ?? box.webkitRequestFullscreen) {
      await (box.requestFullscreen ?? box.webkitRequestFullscreen).call(box);
    } else {
      video.webkitEnterFullscreen();
    }
  } catch {
    // The browser or the person has refused.
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

// -- popovers and dialogs

/*
 * A box that opens and closes at clicks on its buttons. Escape and clicks elsewhere close it.
 * opening(button): called before it opens. toggled(open): called after each change.
 * Fallback: an element that is shown and hidden.
 */
export class Popover {
  #box;
  #native;
  #events;
  #button = null;

  constructor(box, events) {
    this.#box = box;
    this.#events = events;
    this.#native = typeof box.showPopover === 'function';
    if (this.#native) {
      box.addEventListener('beforetoggle', (event) => event.newState === 'open' && events.opening(this.#button));
      box.addEventListener('toggle', (event) => events.toggled(event.newState === 'open'));
      return;
    }
    box.hidden = true;
    box.removeAttribute('popover');
    document.addEventListener('keydown', (event) => event.key === 'Escape' && this.close());
    document.addEventListener('click', (event) => {
      if (!box.contains(event.target) && !this.#button?.contains(event.target)) this.close();
    });
  }

  get isOpen() {
    return this.#native ? this.#box.matches(':popover-open') : !this.#box.hidden;
  }

  attach(button) {
    if (this.#native) {
      // This listener runs before the browser opens the box.
      button.addEventListener('click', () => (this.#button = button));
      button.popoverTargetElement = this.#box;
      return;
    }
    button.addEventListener('click', () => {
      const other = this.#button !== button || !this.isOpen;
      this.close();
      if (other) this.#open(button);
    });
  }

  // Close the box, if it is open. button: only if this button has opened it.
  close(button = this.#button) {
    if (button !== this.#button || !this.isOpen) return;
    if (this.#native) {
      this.#box.hidePopover();
    } else {
      this.#box.hidden = true;
      // As browsers do: the focus returns from the box to its button.
      if (!document.activeElement?.getClientRects().length) button.focus({ preventScroll: true });
      this.#events.toggled(false);
    }
  }

  #open(button) {
    this.#button = button;
    this.#events.opening(button);
    this.#box.hidden = false;
    this.#events.toggled(true);
  }
}

// Prepare a dialog element that is closed.
export function prepareDialog(dialog) {
  if (typeof dialog.showModal !== 'function') dialog.hidden = true;
}

/*
 * Show a dialog, and resolve the promise with its returnValue when it is closed. Fallback: the question as a text, with
 * OK for the value `yes`.
 */
export function askInDialog(dialog, question, yes) {
  if (typeof dialog.showModal !== 'function') return Promise.resolve(confirm(question) ? yes : '');
  dialog.returnValue = '';
  dialog.showModal();
  return new Promise((resolve) => (dialog.onclose = () => resolve(dialog.returnValue)));
}
