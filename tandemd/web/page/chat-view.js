// The chat: the lines of the room, the ones that are still on their way, and reactions over the film.

import { element, made, nameNode, say, showNotice } from './dom.js';
import { problem } from './error-texts.js';
import { t } from './language.js';
import { Menu } from './menu.js';
import { shownName } from './names.js';
import { isolated } from './text.js';

const REACTIONS = ['😂', '😍', '😮', '😢', '👏', '👍'];
const REACTION_MS = 4000;
// Scrolled up by less, the list follows new lines.
const NEAR_END_PX = 40;

// The keys of the notes, by the kind of a line.
function noteKey(line) {
  switch (line.kind) {
    case 'left':
      return `note.${line.reason === 'kicked' || line.reason === 'banned' ? line.reason : 'left'}`;
    case 'control':
      return line.enabled ? 'note.mayControl' : 'note.mayNotControl';
    case 'guest-control':
      return line.enabled ? 'note.guestsControl' : 'note.hostOnly';
    case 'locked':
      return line.locked ? 'note.locked' : 'note.unlocked';
  }
  return `note.${line.kind}`;
}

export class ChatView {
  #party;
  #isShown;
  #shown = [];
  // Lines that the tab remembers from before a reload: they are seen.
  #skip;
  #unread = 0;

  // isShown(): whether the person can see the chat.
  constructor(party, isShown) {
    this.#party = party;
    this.#isShown = isShown;
    this.#skip = party.room.lines.length;
    element('chat-form').addEventListener('submit', (event) => {
      event.preventDefault();
      const input = element('chat-text');
      const text = input.value.trim();
      input.value = '';
      if (text) this.#send(text);
    });
    this.#reactions();
  }

  changed() {
    const { lines } = this.#party.room;
    const list = element('chat');
    const atEnd = list.scrollHeight - list.scrollTop - list.clientHeight < NEAR_END_PX;
    while (this.#shown.length && this.#shown[0] !== lines[0]) {
      this.#shown.shift();
      list.firstElementChild?.remove();
    }
    for (const line of lines.slice(this.#shown.length)) {
      this.#shown.push(line);
      list.append(this.#line(line));
      this.#count(line);
    }
    element('chat-empty').hidden = lines.length > 0;
    if (atEnd) list.scrollTop = list.scrollHeight;
    this.seen();
  }

  // The chat may have come into view.
  seen() {
    if (this.#isShown()) this.#unread = 0;
    element('unread').hidden = !this.#unread;
    say(element('unread'), String(this.#unread));
    document.title = this.#unread ? t('party.unread', { n: this.#unread, title: t('title') }) : t('title');
  }

  #count(line) {
    if (this.#skip > 0) {
      this.#skip -= 1;
      return;
    }
    const from = line.kind === 'chat' ? line.userId : '';
    if (from && REACTIONS.includes(line.text)) this.#float(line.text);
    if (from && from !== this.#party.me) this.#unread += 1;
  }

  #send(text) {
    const input = element('chat-text');
    const [box, line] = [element('chat-sending'), made('p', 'said-text', text)];
    line.dir = 'auto';
    line.append(' ', made('span', 'hint', t('chat.sending')));
    box.append(line);
    box.hidden = false;
    this.#party
      .say(text)
      .catch((error) => {
        input.value ||= text;
        showNotice(t('chat.notSent', { reason: problem(error.code, error.message) }));
      })
      .finally(() => {
        line.remove();
        box.hidden = !box.childElementCount;
      });
  }

  #line(line) {
    const from = line.userId;
    // Without a member, as for a gap, the note has no name.
    const name = from ? shownName(line.name, from) : '';
    if (line.kind !== 'chat') return made('p', 'note', t(noteKey(line), { name: isolated(name) }));
    // Only the server has this user id; the name alone would prove nothing.
    const announced = from === 'server';
    const item = made('div', announced ? 'said announced' : from === this.#party.me ? 'said mine' : 'said');
    // No line of a member has this label, whatever the member's name is.
    const sender = announced ? made('span', 'tag host', t('chat.announcement')) : nameNode(name);
    const head = made('p', 'said-by');
    const at = new Date(line.at);
    head.append(sender, ' ');
    if (!Number.isNaN(at.getTime())) {
      const time = made('time', '', at.toLocaleTimeString([], { hour: '2-digit', minute: '2-digit' }));
      time.dateTime = at.toISOString();
      head.append(time);
    }
    const text = made('p', 'said-text', line.text);
    text.dir = 'auto';
    item.append(head, text);
    return item;
  }

  // -- reactions: lines of one emoji, which old clients show as such

  #reactions() {
    const choices = REACTIONS.map((label) => ({ label, run: () => this.#send(label) }));
    new Menu('reactions').attach(element('react'), () => choices);
  }

  #float(emoji) {
    const box = element('reactions-shown');
    const shown = made('span', 'reaction', emoji);
    shown.style.left = `${10 + ((box.childElementCount * 17) % 80)}%`;
    box.append(shown);
    setTimeout(() => shown.remove(), REACTION_MS);
  }
}
