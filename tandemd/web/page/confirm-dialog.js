// The question to the host before it removes a member.

import { askInDialog, prepareDialog } from './overlays.js';
import { element, say } from './dom.js';
import { t } from './language.js';
import { isolated } from './text.js';

export class Dismissal {
  #dialog = element('dismissal');

  constructor() {
    prepareDialog(this.#dialog);
    element('dismissal-cancel').onclick = () => this.#dialog.close('');
  }

  // The promise is resolved with {reason, byAddress}, or with null if the host has decided against it.
  async ask(name, banning) {
    const [title, text] = [element('dismissal-title'), element('dismissal-text')];
    const [what, whom] = [banning ? 'ban' : 'kick', { name: isolated(name) }];
    say(title, t(`dismissal.${what}`, whom));
    say(text, t(`dismissal.${what}Text`, whom));
    say(element('dismissal-yes'), t(`dismissal.${what}Yes`));
    element('dismissal-address-row').hidden = !banning;
    element('dismissal-address').checked = true;
    const reason = element('dismissal-reason');
    reason.value = '';
    const answer = await askInDialog(this.#dialog, `${title.textContent}\n${text.textContent}`, 'yes');
    return answer === 'yes' ? { reason: reason.value.trim(), byAddress: element('dismissal-address').checked } : null;
  }
}
