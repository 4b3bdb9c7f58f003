// The column beside the film: tabs for chat and people, which full screen shows over the film on demand.

import { element } from './dom.js';
import { plainKey } from './shortcuts.js';

const PANELS = ['chat', 'people'];

export class Panels {
  #app = element('app');
  #changed;

  // changed(): another panel is shown.
  constructor(changed) {
    this.#changed = changed;
    for (const panel of PANELS) {
      const tab = element(`${panel}-tab`);
      tab.onclick = () => this.show(panel);
      tab.onkeydown = (event) => {
        if (!['ArrowLeft', 'ArrowRight'].includes(plainKey(event))) return;
        event.preventDefault();
        const other = PANELS[1 - PANELS.indexOf(panel)];
        this.show(other);
        element(`${other}-tab`).focus();
      };
    }
    element('chat-over').onclick = () => this.#over(this.#app.dataset.over !== 'true');
  }

  show(shown) {
    this.#app.dataset.panel = shown;
    for (const panel of PANELS) {
      const tab = element(`${panel}-tab`);
      element(`${panel}-panel`).hidden = panel !== shown;
      tab.setAttribute('aria-selected', String(panel === shown));
      tab.tabIndex = panel === shown ? 0 : -1;
    }
    this.#changed();
  }

  // Show the chat, also in full screen, and lead the keys into it.
  write() {
    this.#over(true);
    this.show('chat');
    element('chat-text').focus();
  }

  isChatShown() {
    return this.#app.dataset.panel === 'chat' && Boolean(element('chat').getClientRects().length);
  }

  #over(over) {
    this.#app.dataset.over = String(over);
    element('chat-over').setAttribute('aria-pressed', String(over));
    this.#changed();
  }
}
