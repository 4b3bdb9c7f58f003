// The question to the host before it removes a member.

import { askInDialog, prepareDialog } from './browser.js';
import { element, nameNode, say } from './dom.js';

export class Dismissal {
  #dialog = element('dismissal');

  constructor() {
    prepareDialog(this.#dialog);
    element('dismissal-cancel').onclick = () => this.#dialog.close('');
  }

  // The promise is resolved with {reason, byAddress}, or with null if the host has decided against it.
  async ask(name, banning) {
    const [title, text] = [element('dismissal-title'), element('dismissal-text')];
    say(title, banning ? 'Ban ' : 'Kick ', nameNode(name), '?');
    const until = banning ? 'cannot return during this party' : 'can return after some minutes';
    say(text, nameNode(name), ` leaves the party at once and ${until}.`);
    say(element('dismissal-yes'), banning ? 'Ban' : 'Kick');
    element('dismissal-address-row').hidden = !banning;
    element('dismissal-address').checked = true;
    const reason = element('dismissal-reason');
    reason.value = '';
    const answer = await askInDialog(this.#dialog, `${title.textContent}\n${text.textContent}`, 'yes');
    return answer === 'yes' ? { reason: reason.value.trim(), byAddress: element('dismissal-address').checked } : null;
  }
}
