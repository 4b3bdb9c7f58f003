// The way into the call. The call itself is loaded when the member joins it.

import { environment } from './browser.js';
import { element, say } from './dom.js';
import { t } from './language.js';
import { whenLoaded } from './lazy.js';

export class CallButton {
  #party;
  #view = null;

  constructor(party) {
    this.#party = party;
    element('app').dataset.call = 'out';
    element('call').hidden = !environment.canCall;
    element('call-join').onclick = () => this.#enter();
  }

  // The members have changed.
  changed() {
    const { room, me } = this.#party;
    const others = [...room.inCall].filter(([userId, inCall]) => inCall && userId !== me);
    say(element('call-there'), others.length ? t('call.there', { n: others.length }) : '');
  }

  #enter() {
    const use = ({ CallView }) => {
      this.#view ??= new CallView(this.#party);
      this.#view.enter();
    };
    whenLoaded(() => import('./call-view.js'), use, ['call.css']);
  }
}
