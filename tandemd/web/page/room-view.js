// What a party looks like: puts its state into the page's elements, and what is clicked there into the party.

import { isHidden, onReturn } from './browser.js';
import { CallButton } from './call-button.js';
import { ChatView } from './chat-view.js';
import { element } from './dom.js';
import { FilmView } from './film-view.js';
import { onFirstClick, whenLoaded } from './lazy.js';
import { People } from './member-list.js';
import { Panels } from './panels.js';
import { plainKey } from './shortcuts.js';

export class PartyView {
  #party;
  #film;
  #people;
  #knocks = null;
  #chat;
  #settings;
  // The parts that are shown when the room changes, besides the film.
  #parts;

  // films: the Films of the party. browse(chosen): shows the films of the server, see StartFilm.
  constructor(party, films, browse) {
    this.#party = party;
    const panels = new Panels(() => this.#chat?.seen());
    this.#film = new FilmView(party, () => panels.write());
    this.#people = new People(party);
    this.#chat = new ChatView(party, () => !isHidden() && panels.isChatShown());
    this.#settings = onFirstClick(
      'settings-open',
      () => import('./settings-view.js'),
      ({ SettingsView }) => new SettingsView(party),
    );
    this.#parts = [
      this.#people,
      this.#chat,
      new CallButton(party),
      this.#settings,
      onFirstClick('invite-open', () => import('./invite-view.js'), ({ InviteView }) => new InviteView(party)),
    ];
    onFirstClick('film-open', () => import('./film-dialog.js'), ({ FilmDialog }) => new FilmDialog(party, films, browse));
    onFirstClick('keys-open', () => import('./keys-dialog.js'), ({ KeysDialog }) => new KeysDialog());
    onReturn(() => this.#chat.seen());
    element('chat-text').addEventListener('keydown', (event) => plainKey(event) === 'Escape' && event.target.blur());
  }

  // A newcomer waits at the locked room.
  knock(message) {
    whenLoaded(
      () => import('./knocks-view.js'),
      ({ KnocksView }) => {
        this.#knocks ??= new KnocksView(this.#party);
        this.#knocks.knock(message);
      },
    );
  }

  // what: as in Party's event `changed`.
  changed(what) {
    this.#film.changed();
    if (what === 'timeline') this.#settings.changed();
    if (what === 'player' || what === 'timeline' || what === 'hold') return;
    const { room } = this.#party;
    element('app').dataset.room = room.id;
    element('locked-tag').hidden = !room.locked;
    for (const part of this.#parts) part.changed();
    this.#knocks?.changed();
  }
}
