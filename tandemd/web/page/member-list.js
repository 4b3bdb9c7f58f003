// The members with their permissions, and the host's actions for each.

import { Dismissal } from './confirm-dialog.js';
import { element, label, made, madeButton, nameNode, say } from './dom.js';
import { span } from './error-texts.js';
import { t } from './language.js';
import { Menu } from './menu.js';
import { shownName } from './names.js';
import { isolated } from './text.js';

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
  menu = madeButton('icon');
  #name = nameNode('', 'person-name');
  #tags = {
    you: made('span', 'tag', t('people.you')),
    host: made('span', 'tag host', t('people.host')),
    controls: made('span', 'tag', t('people.controls')),
    buffering: made('span', 'tag', t('people.buffering')),
    away: made('span', 'tag', t('people.away')),
    inCall: made('span', 'tag', t('people.inCall')),
    reconnecting: made('span', 'tag', t('people.reconnecting')),
  };

  constructor(userId) {
    this.line.dataset.user = userId;
    this.menu.append(dots());
    this.line.append(this.#name, ...Object.values(this.#tags), this.menu);
  }

  show(name, tags, hasMenu) {
    say(this.#name, name);
    for (const [tag, node] of Object.entries(this.#tags)) node.hidden = !tags[tag];
    this.line.dataset.host = String(tags.host);
    this.menu.hidden = !hasMenu;
    label(this.menu, t('people.actions', { name: isolated(name) }));
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
    // A kick ends by itself.
    setInterval(() => this.#barred(), BARRED_EVERY_MS);
  }

  changed() {
    const { room } = this.#party;
    const before = document.activeElement;
    this.#list();
    this.#barred();
    say(element('people-count'), String(room.users.size));
    const focus = document.activeElement;
    const lost = focus === document.body || !focus.getClientRects().length;
    // The element with the focus may be gone.
    if (before !== document.body && lost) this.#focus();
  }

  #focus() {
    const title = element('people-title');
    (title.getClientRects().length ? title : element('people-tab')).focus({ preventScroll: true });
  }

  #list() {
    const { me, room, host, connection } = this.#party;
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
      const status = room.statuses.get(userId);
      const tags = {
        you: userId === me,
        host: isHost,
        controls: !isHost && room.controllers.has(userId),
        buffering: status === 'buffering',
        away: status === 'away',
        inCall: room.inCall.get(userId) === true,
        reconnecting: userId === me && connection.state !== 'connected',
      };
      const hasMenu = host && userId !== me;
      if (!hasMenu) this.#menu.closeAt(person.menu);
      person.show(shownName(room.users.get(userId), userId), tags, hasMenu);
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
      { label: t('people.makeHost'), run: () => hosting.makeHost(userId) },
      {
        label: t(controls ? 'people.takeControl' : 'people.giveControl'),
        run: () => hosting.letControl(userId, !controls),
      },
      { label: t('people.kick'), run: () => this.#sendOut(userId, false) },
      { label: t('people.ban'), run: () => this.#sendOut(userId, true) },
    ];
  }

  async #sendOut(userId, banning) {
    const { room, hosting } = this.#party;
    const sure = await this.#dismissal.ask(shownName(room.users.get(userId), userId), banning);
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
      const forGood = t(byAddress ? 'people.barredAddress' : 'people.barredForGood');
      return { userId, name: shownName(username, userId), how: until ? t('people.barredFor', { time: span(until - now) }) : forGood };
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
      const same = buttons.find((button) => button.dataset.letIn === focused);
      if (same) same.focus();
      else this.#focus();
    }
  }

  #barredLine({ userId, name, how }) {
    const item = made('li', 'person');
    const who = made('p', 'barred-who');
    who.append(nameNode(name), ' ', made('span', 'hint', how));
    const button = madeButton('small', t('people.letIn'));
    button.dataset.letIn = userId;
    button.setAttribute('aria-label', t('people.letInName', { name: isolated(name) }));
    button.onclick = () => this.#party.hosting.letIn(userId);
    item.append(who, button);
    return item;
  }
}
