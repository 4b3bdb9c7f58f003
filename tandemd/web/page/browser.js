// The optional abilities of browsers. Each may be missing, forbidden, or throw; no other module of the page touches them.
//
// Every function looks at the ability when it is called, and falls back to the behaviour that its comment names.

import { Environment } from '../client/index.js';

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
