// The dialog with the list of keys.

import { connectDialog } from './dialogs.js';
import { element, made } from './dom.js';
import { t } from './language.js';
import { KEYS } from './shortcuts.js';

export class KeysDialog {
  #dialog = connectDialog('keys-dialog', 'keys-open');

  constructor() {
    for (const { keys, text } of KEYS) {
      const names = keys.map((key) => made('kbd', '', key === 'Space' ? t('keys.space') : key));
      const term = made('dt');
      term.append(...names.flatMap((name) => [name, ' ']));
      element('keys-list').append(term, made('dd', '', t(text)));
    }
  }

  open() {
    this.#dialog.open();
  }
}
