// The members with their permissions, and the host's actions for each.

import { Dismissal } from './confirm-dialog.js';
import { Menu } from './menu.js';
import { span } from './error-texts.js';
import { element, made, nameNode, say } from './dom.js';

const DOTS = 'M5 10a2 2 0 1 0 0 4 2 2 0 0 0 0-4zm7 0a2 2 0 1 0 0 4 2 2 0 0 0 0-4zm7 0a2 2 0 1 0 0 4 2 2 0 0 0 0-4z';
const SVG = 'http://www.w3.org/2000/svg';
const BARRED_EVERY_MS = 5000;

function dots() {
  const svg = document.createElementNS(SVG, 'svg');
  svg.setAttribute('viewBox', '0 0 24 24');
  svg.setAttribute('aria-hidden', 'true');
  const path = document.createElementNS(SVG, 'path');
  path.setAttribute('d', DOTS);
  svg.append(path);
  return svg;
}

// One line of the list.
class Person {
  line = made('li', 'person');
  menu = made('button', 'icon');
  #name = nameNode('', 'person-name');
  #tags = {
    you: made('span', 'tag', 'you'),
    host: made('span', 'tag host', 'host'),
    controls: made('span', 'tag', 'may control'),
  };

  constructor(userId) {
    this.line.dataset.user = userId;
    this.menu.type = 'button';
    this.menu.append(dots());
    this.line.append(this.#name, ...Object.values(this.#tags), this.menu);
  }

  show(name, tags, hasMenu) {
    say(this.#name, name);
    for (const [tag, node] of Object.entries(this.#tags)) node.hidden = !tags[tag];
    this.line.dataset.host = String(tags.host);
    this.menu.hidden = !hasMenu;
    this.menu.setAttribute('aria-label', `Actions for ${name}`);
  }
}

export class People {
  #party;
  #menu = new Menu('member-menu');
  #dismissal = new Dismissal();
  #persons = new Map();
  #shownBarred = '';

  constructor(party) {
    this.#party = party;
    const { hosting } = party;
    this.#switch('guest-control', (on) => hosting.letGuestsControl(on));
    this.#switch('lock', (on) => hosting.lock(on));
    // A kick ends by itself.
    setInterval(() => this.#barred(), BARRED_EVERY_MS);
  }

  changed() {
    const { me, room, host, ticket } = this.#party;
    const before = document.activeElement;
    this.#list();
    this.#barred();
    say(element('people-count'), String(room.users.size));
    element('locked-tag').hidden = !room.locked;
    element('lock').checked = room.locked;
    element('lock-row').hidden = !host;
    element('guest-control').checked = room.guestControl;
    element('guest-control').disabled = !host;
    element('rename-form').hidden = Boolean(ticket?.name);
    say(element('who-controls'), this.#whoControls());
    const focus = document.activeElement;
    const lost = focus === document.body || !focus.getClientRects().length;
    // The element with the focus may be gone.
    if (before !== document.body && lost) element('people-title').focus({ preventScroll: true });
    if (focus !== element('rename')) element('rename').value = room.users.get(me) ?? '';
  }

  #switch(id, act) {
    element(id).onchange = async (event) => {
      await act(event.target.checked);
      // Refused, the switch goes back.
      this.changed();
    };
  }

  #whoControls() {
    const { me, room, host } = this.#party;
    if (host) return 'You are the host: you control the film.';
    if (room.guestControl) return 'All members control the film.';
    if (room.controllers.has(me)) return 'You control the film too.';
    return room.hostId ? 'The host controls the film.' : 'The host controls the film, and is not here yet.';
  }

  #list() {
    const { me, room, host } = this.#party;
    const list = element('people');
    for (const [userId, person] of this.#persons) {
      if (room.users.has(userId)) continue;
      this.#menu.closeAt(person.menu);
      person.line.remove();
      this.#persons.delete(userId);
    }
    // What is there stays the same element: it may have the focus.
    [...room.users.keys()].forEach((userId, at) => {
      const person = this.#persons.get(userId) ?? this.#newcomer(userId);
      const isHost = userId === room.hostId;
      const tags = { you: userId === me, host: isHost, controls: !isHost && room.controllers.has(userId) };
      const hasMenu = host && userId !== me;
      if (!hasMenu) this.#menu.closeAt(person.menu);
      person.show(room.name(userId), tags, hasMenu);
      if (list.children[at] !== person.line) list.insertBefore(person.line, list.children[at] ?? null);
    });
  }

  #newcomer(userId) {
    const person = new Person(userId);
    this.#menu.attach(person.menu, () => this.#choices(userId));
    this.#persons.set(userId, person);
    return person;
  }

  #choices(userId) {
    const { room, hosting } = this.#party;
    const controls = room.controllers.has(userId);
    return [
      { label: 'Make host', run: () => hosting.makeHost(userId) },
      {
        label: controls ? 'Take control of the film away' : 'Let them control the film',
        run: () => hosting.letControl(userId, !controls),
      },
      { label: 'Kick…', run: () => this.#sendOut(userId, false) },
      { label: 'Ban…', run: () => this.#sendOut(userId, true) },
    ];
  }

  async #sendOut(userId, banning) {
    const { room, hosting } = this.#party;
    const sure = await this.#dismissal.ask(room.name(userId), banning);
    if (!sure) return;
    if (banning) hosting.ban(userId, sure.reason, sure.byAddress);
    else hosting.kick(userId, sure.reason);
  }

  // The kicked and banned users, which only the host is told.
  #barred() {
    const { room, host, clock } = this.#party;
    const now = clock.now();
    const barred = host ? room.bans.filter(({ until }) => !until || until > now) : [];
    const lines = barred.map(({ userId, username, until, byAddress }) => {
      const also = byAddress ? 'banned, and newcomers from the same address' : 'banned';
      return { userId, name: username || 'Guest', how: until ? `for ${span(until - now)}` : also };
    });
    const shown = JSON.stringify(lines);
    if (shown === this.#shownBarred) return;
    this.#shownBarred = shown;
    element('barred').hidden = !lines.length;
    say(element('barred-count'), String(lines.length));
    const focused = document.activeElement?.dataset.letIn;
    element('barred-list').replaceChildren(...lines.map((line) => this.#barredLine(line)));
    if (focused) {
      const buttons = [...element('barred-list').querySelectorAll('[data-let-in]')];
      (buttons.find((button) => button.dataset.letIn === focused) ?? element('people-title')).focus();
    }
  }

  #barredLine({ userId, name, how }) {
    const item = made('li', 'person');
    const who = made('p', 'barred-who');
    who.append(nameNode(name), ' ', made('span', 'hint', how));
    const button = made('button', 'small', 'Let in');
    button.type = 'button';
    button.dataset.letIn = userId;
    button.setAttribute('aria-label', `Let ${name} in again`);
    button.onclick = () => this.#party.hosting.letIn(userId);
    item.append(who, button);
    return item;
  }
}
