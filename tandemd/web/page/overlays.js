// The popovers and dialogs of browsers, which may lack them. See browser.js.

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

// -- dialogs. Fallback: a box over the page, which is not modal.

export function openDialog(dialog) {
  if (dialog.open) return;
  if (typeof dialog.showModal === 'function') {
    dialog.showModal();
    return;
  }
  dialog.hidden = false;
  dialog.setAttribute('open', '');
  dialog.querySelector('[autofocus]')?.focus();
}

export function closeDialog(dialog) {
  if (typeof dialog.showModal === 'function') {
    dialog.close();
    return;
  }
  dialog.removeAttribute('open');
  dialog.dispatchEvent(new Event('close'));
}
