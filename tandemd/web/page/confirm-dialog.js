// Asks the host once more before somebody is sent out.

import { element, nameNode, say } from './dom.js';

export class Dismissal {
  #dialog = element('dismissal');

  constructor() {
    element('dismissal-cancel').onclick = () => this.#dialog.close('');
  }

  // The promise is resolved with {reason, byAddress}, or with null if it shall not be.
  ask(name, banning) {
    say(element('dismissal-title'), banning ? 'Ban ' : 'Kick ', nameNode(name), '?');
    const until = banning ? 'cannot come back as long as this party lasts' : 'can come back after some minutes';
    say(element('dismissal-text'), nameNode(name), ` is sent out, and ${until}.`);
    say(element('dismissal-yes'), banning ? 'Ban' : 'Kick');
    element('dismissal-address-row').hidden = !banning;
    element('dismissal-address').checked = true;
    const reason = element('dismissal-reason');
    reason.value = '';
    this.#dialog.returnValue = '';
    this.#dialog.showModal();
    return new Promise((resolve) => {
      this.#dialog.onclose = () => {
        const sure = this.#dialog.returnValue === 'yes';
        resolve(sure ? { reason: reason.value.trim(), byAddress: element('dismissal-address').checked } : null);
      };
    });
  }
}
