// A menu that opens at a button. Arrow keys go through it; Escape, Tab and a click elsewhere close it.

import { Popover } from './overlays.js';
import { element, madeButton } from './dom.js';
import { plainKey } from './shortcuts.js';

const GAP = 4;

export class Menu {
  #menu;
  #popover;
  #button = null;
  #openedAt = 0;
  #choices = new WeakMap();

  constructor(id) {
    this.#menu = element(id);
    this.#popover = new Popover(this.#menu, {
      opening: (button) => this.#fill(button),
      toggled: (open) => this.#toggled(open),
    });
    this.#menu.addEventListener('keydown', (event) => this.#key(event));
    // It stays where it was opened, and its button does not.
    for (const type of ['scroll', 'resize']) addEventListener(type, () => this.#buttonMoved(), { capture: true });
  }

  // choices(): [{label, run}], asked for when the button opens the menu.
  attach(button, choices) {
    this.#choices.set(button, choices);
    this.#popover.attach(button);
    button.setAttribute('aria-haspopup', 'menu');
    button.setAttribute('aria-expanded', 'false');
  }

  // Close it if it belongs to this button.
  closeAt(button) {
    this.#popover.close(button);
  }

  // A line of chat scrolls, too, and moves no button.
  #buttonMoved() {
    if (this.#button && this.#button.getBoundingClientRect().top !== this.#openedAt) this.#popover.close();
  }

  #fill(button) {
    this.#button = button;
    const items = this.#choices.get(button)().map(({ label, run }) => {
      const item = madeButton('', label);
      item.tabIndex = -1;
      item.setAttribute('role', 'menuitem');
      item.onclick = () => {
        this.#popover.close();
        run();
      };
      return item;
    });
    this.#menu.replaceChildren(...items);
    this.#menu.setAttribute('aria-label', button.getAttribute('aria-label'));
    const { top, bottom, left, right } = button.getBoundingClientRect();
    this.#openedAt = top;
    const above = bottom > innerHeight * 0.6;
    const atStart = right < innerWidth / 2;
    this.#menu.style.left = atStart ? `${left}px` : 'auto';
    this.#menu.style.right = atStart ? 'auto' : `${document.documentElement.clientWidth - right}px`;
    this.#menu.style.top = above ? 'auto' : `${bottom + GAP}px`;
    this.#menu.style.bottom = above ? `${innerHeight - top + GAP}px` : 'auto';
  }

  #toggled(open) {
    this.#button?.setAttribute('aria-expanded', String(open));
    if (open) this.#menu.firstElementChild?.focus({ preventScroll: true });
  }

  #key(event) {
    const items = [...this.#menu.children];
    const at = items.indexOf(document.activeElement);
    const next = { ArrowDown: 1, ArrowRight: 1, ArrowUp: -1, ArrowLeft: -1 }[plainKey(event)];
    const to = next ? at + next : { Home: 0, End: -1 }[plainKey(event)];
    if (event.key === 'Tab') this.#popover.close();
    if (to === undefined) return;
    event.preventDefault();
    items.at(to % items.length).focus({ preventScroll: true });
  }
}
