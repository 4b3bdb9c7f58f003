// The dialog with the person's name, the host's switches, and the way out.

import { connectDialog } from './dialogs.js';
import { element, made, showNotice } from './dom.js';
import { problem } from './error-texts.js';
import { t } from './language.js';
import { shownName } from './names.js';

const RATES = [0.5, 0.75, 1, 1.25, 1.5, 1.75, 2];

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
    this.#switch('wait', (on) => hosting.waitForBuffering(on));
    this.#rates();
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
    element('wait').checked = room.waitForBuffering;
    for (const id of ['guest-control', 'wait']) element(id).disabled = !host;
    this.#showRate(room.timeline.rate ?? 1);
    element('rename-form').hidden = Boolean(ticket?.name);
    if (document.activeElement !== element('rename')) element('rename').value = room.users.get(me) ?? '';
    element('rename').placeholder = shownName('', me);
  }

  #rates() {
    element('rate').onchange = async () => {
      await this.#party.changeRate(Number(element('rate').value));
      this.changed();
    };
  }

  #showRate(rate) {
    const rates = [...new Set([...RATES, rate])].sort((one, other) => one - other);
    const select = element('rate');
    if (select.options.length !== rates.length) {
      const format = new Intl.NumberFormat(document.documentElement.lang, { maximumFractionDigits: 2 });
      select.replaceChildren(...rates.map((one) => Object.assign(made('option', '', `${format.format(one)}×`), { value: one })));
    }
    select.value = rate;
    select.disabled = !this.#party.mayControl || !this.#party.room.url;
  }

  #switch(id, act) {
    element(id).onchange = async (event) => {
      await act(event.target.checked);
      // Refused, the switch goes back.
      this.changed();
    };
  }
}
