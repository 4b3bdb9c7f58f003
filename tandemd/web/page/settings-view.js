// The dialog with the person's name, the host's switches, and the way out.

import { connectDialog } from './dialogs.js';
import { element, showNotice } from './dom.js';
import { problem } from './error-texts.js';
import { t } from './language.js';

export class SettingsView {
  #party;

  constructor(party) {
    this.#party = party;
    const { hosting } = party;
    const dialog = connectDialog('settings-dialog', 'settings-open');
    this.open = () => {
      this.changed();
      dialog.open();
    };
    this.#switch('guest-control', (on) => hosting.letGuestsControl(on));
    this.#switch('lock', (on) => hosting.lock(on));
    element('rename-form').addEventListener('submit', (event) => {
      event.preventDefault();
      const name = element('rename').value.trim();
      if (!name) return;
      party.rename(name).then(
        () => {
          dialog.close();
          showNotice(t('settings.renamed'));
        },
        (error) => showNotice(problem(error.code, error.message)),
      );
    });
  }

  // The room has changed.
  changed() {
    const { me, room, host, ticket } = this.#party;
    element('lock').checked = room.locked;
    element('lock-row').hidden = !host;
    element('guest-control').checked = room.guestControl;
    element('guest-control').disabled = !host;
    element('rename-form').hidden = Boolean(ticket?.name);
    if (document.activeElement !== element('rename')) element('rename').value = room.users.get(me) ?? '';
  }

  #switch(id, act) {
    element(id).onchange = async (event) => {
      await act(event.target.checked);
      // Refused, the switch goes back.
      this.changed();
    };
  }
}
