// Newcomers at the locked room, with the host's answers.

import { element, made, madeButton, nameNode, say, showNotice } from './dom.js';
import { t } from './language.js';
import { shownName } from './names.js';
import { isolated } from './text.js';

export class KnocksView {
  #party;
  #lines = new Map();

  constructor(party) {
    this.#party = party;
  }

  // message: a KNOCK. The same newcomer may knock again.
  knock({ userId, username }) {
    const name = shownName(username, userId);
    this.#lines.get(userId)?.remove();
    const line = made('li', 'person');
    const who = made('p', 'barred-who');
    const [before, after] = t('people.knocks').split('{name}');
    who.append(before, nameNode(name), after);
    line.append(who, this.#button(userId, name, true), this.#button(userId, name, false));
    this.#lines.set(userId, line);
    element('knocks').append(line);
    showNotice(t('people.knocked', { name: isolated(name) }));
    this.#show();
  }

  // The room has changed.
  changed() {
    const { room, host } = this.#party;
    for (const userId of this.#lines.keys()) {
      if (!host || !room.locked || room.users.has(userId)) this.#drop(userId);
    }
    this.#show();
  }

  #button(userId, name, admitted) {
    const button = madeButton('small', t(admitted ? 'people.admit' : 'people.refuse'));
    button.setAttribute('aria-label', t(admitted ? 'people.admitName' : 'people.refuseName', { name: isolated(name) }));
    button.onclick = async () => {
      await this.#party.hosting.admit(userId, admitted);
      const focused = this.#lines.get(userId)?.contains(document.activeElement);
      this.#drop(userId);
      this.#show();
      if (focused) element('people-title').focus();
    };
    return button;
  }

  #drop(userId) {
    this.#lines.get(userId)?.remove();
    this.#lines.delete(userId);
  }

  #show() {
    const count = this.#lines.size;
    element('knocks').hidden = !count;
    element('knocks-badge').hidden = !count;
    say(element('knocks-badge'), String(count));
  }
}
