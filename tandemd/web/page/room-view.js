// What a party looks like: puts its state into the page's elements, and what is clicked there into the party.

import { isHidden, onReturn } from './browser.js';
import { CallView } from './call-view.js';
import { ChatView } from './chat-view.js';
import { element } from './dom.js';
import { FilmView } from './film-view.js';
import { InviteView } from './invite-view.js';
import { KnocksView } from './knocks-view.js';
import { People } from './member-list.js';
import { Panels } from './panels.js';
import { SettingsView } from './settings-view.js';
import { plainKey } from './shortcuts.js';

export class PartyView {
  #party;
  #film;
  #people;
  #knocks;
  #settings;
  #chat;
  #invite;
  #call;

  constructor(party) {
    this.#party = party;
    const panels = new Panels(() => this.#chat?.seen());
    this.#film = new FilmView(party, () => panels.write());
    this.#people = new People(party, (userId) => this.#call.has(userId));
    this.#call = new CallView(party, () => this.#people.changed());
    this.#knocks = new KnocksView(party);
    this.#settings = new SettingsView(party);
    this.#chat = new ChatView(party, () => !isHidden() && panels.isChatShown());
    this.#invite = new InviteView(party);
    onReturn(() => this.#chat.seen());
    element('chat-text').addEventListener('keydown', (event) => plainKey(event) === 'Escape' && event.target.blur());
  }

  // A newcomer waits at the locked room.
  knock(message) {
    this.#knocks.knock(message);
  }

  // what: as in Party's event `changed`.
  changed(what) {
    this.#film.changed();
    if (what === 'player' || what === 'timeline' || what === 'hold') return;
    element('app').dataset.room = this.#party.room.id;
    this.#people.changed();
    this.#knocks.changed();
    this.#settings.changed();
    this.#chat.changed();
    this.#invite.changed();
  }
}
