// A party on this page: its connection, its film, and the screens that belong to its states.

import { replaceAddress } from './browser.js';
import { element, hideNotice, showConnection, showNotice, showScreen } from './dom.js';
import { problem, waiting } from './error-texts.js';
import { Films } from './films.js';
import { t } from './language.js';
import { Party } from './room-controller.js';
import { PartyView } from './room-view.js';
import { serverUrl } from './server-url.js';

export class PartyPage {
  #party;
  #view;
  #start;
  #invited;

  /*
   * page: {identity, invited, start, film, sources}: the Identity, {roomId, pin, revives} of the link, the Start, the
   * StartFilm and the FilmSources. options: see Party.
   */
  constructor({ identity, invited, start, film, sources }, options) {
    this.#start = start;
    this.#invited = invited;
    let films = null;
    this.#party = new Party(element('video'), identity, options, {
      state: (state, error) => this.#entered(state, error),
      changed: (what) => {
        this.#view?.changed(what);
        films?.changed();
      },
      source: (url) => sources.addressFor(url),
      knock: (message) => this.#view.knock(message),
      problem: (text, code) => showNotice(code ? problem(code, text) : text),
    });
    films = new Films(this.#party, sources);
    film.dropTarget = films.dropTarget;
    film.token = () => films.token;
    this.#view = new PartyView(this.#party, films, (chosen) => film.browse(chosen));
    // The PIN must not stay where it is seen and copied.
    replaceAddress(serverUrl(`?room=${encodeURIComponent(options.roomId)}`));
    element('leave').onclick = () => {
      this.#party.leave();
      location.assign(serverUrl());
    };
    this.#party.start();
  }

  // Whether the JOIN has created the room although the person was invited to one.
  #isDead() {
    const { room, ticket } = this.#party;
    const { roomId, revives } = this.#invited;
    return Boolean(roomId) && !revives && !ticket && room.seq === 1 && room.users.size === 1;
  }

  #entered(state, error) {
    const [party, start] = [this.#party, this.#start];
    const retry = (name, pin) => party.retry(name, pin);
    const inParty = !element('party').hidden;
    showConnection(state);
    this.#view?.changed('connection');
    switch (state) {
      case 'connected':
        hideNotice();
        if (!inParty) this.#enter();
        break;
      case 'connecting':
      case 'joining':
        start.busy();
        break;
      case 'waiting':
        if (inParty) showNotice(waiting(error), { label: t('start.again'), run: () => party.connection.join() });
        else start.waits(error, retry);
        break;
      case 'refused':
        hideNotice();
        if (inParty) party.rest();
        start.refused(error, retry, party.clock.known ? party.clock.now() : null);
        break;
      case 'elsewhere':
        party.rest();
        showNotice(t('party.elsewhere'), { label: t('party.continueHere'), run: () => party.connection.join() });
        break;
    }
  }

  #enter() {
    if (this.#isDead()) {
      this.#party.leave();
      this.#start.ended(this.#invited.roomId);
      return;
    }
    showScreen('party');
    element('play').focus({ preventScroll: true });
  }
}
