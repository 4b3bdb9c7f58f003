// What a party looks like: puts its state into the page's elements, and what is clicked there into the party.

import { canFillScreen, copyText, toggleFullScreen } from './browser.js';
import { CLIP } from './room-controller.js';
import { People } from './member-list.js';
import { element, made, nameNode, say, showNotice } from './dom.js';
import { shownAddress, webAddress } from './text.js';
import { serverUrl } from './server-url.js';
import { listenToKeys, seekSeconds } from './shortcuts.js';

function clock(seconds) {
  const whole = Math.max(0, Math.floor(seconds));
  const [h, m, s] = [Math.floor(whole / 3600), Math.floor((whole % 3600) / 60), whole % 60];
  const two = (n) => String(n).padStart(2, '0');
  return h ? `${h}:${two(m)}:${two(s)}` : `${m}:${two(s)}`;
}

// Return the text of a line that no member has said. It begins with the name, if it has one.
function noteText({ kind, name, reason, enabled, locked }) {
  switch (kind) {
    case 'joined':
      return `${name} has joined.`;
    case 'left':
      return `${name} ${reason ? `was ${reason}` : 'has left'}.`;
    case 'host':
      return `${name} is the host now.`;
    case 'control':
      return `${name} may ${enabled ? '' : 'not '}control the film now.`;
    case 'guest-control':
      return enabled ? 'Guests may control the film now.' : 'Only the host controls the film now.';
    case 'locked':
      return locked ? 'The host has locked the party.' : 'The party is open again.';
    case 'gap':
      return 'Some messages may be missing here.';
  }
  return '';
}

export class PartyView {
  #party;
  #people;
  #app = element('app');
  #dragging = false;
  #shownLines = [];
  #inviteFor = '';
  #shownUrl = null;

  constructor(party) {
    this.#party = party;
    this.#people = new People(party);
    this.#playback();
    this.#forms();
    setInterval(() => this.#moving(), 250);
  }

  changed(what) {
    this.#player();
    if (what === 'player' || what === 'timeline' || what === 'hold') return;
    this.#app.dataset.room = this.#party.room.id;
    this.#people.changed();
    this.#lines();
    this.#title();
    this.#invite();
  }

  // -- what is done here

  #playback() {
    const party = this.#party;
    const [video, seek] = [element('video'), element('seek')];
    element('play').onclick = () => party.toggle();
    video.onclick = () => party.toggle();
    element('join-playback').onclick = () => party.player.unblock();
    seek.addEventListener('input', () => {
      this.#dragging = true;
      this.#times(Number(seek.value));
    });
    seek.addEventListener('change', () => {
      this.#dragging = false;
      party.seek(Number(seek.value));
    });
    // The steps of a range are its precision; keys should go further.
    seek.addEventListener('keydown', (event) => {
      const seconds = seekSeconds(event);
      if (!seconds) return;
      event.preventDefault();
      seek.value = Number(seek.value) + seconds;
      party.seek(Number(seek.value));
      this.#times(Number(seek.value));
    });
    element('mute').onclick = () => {
      video.muted = !video.muted;
    };
    element('fullscreen').onclick = () => toggleFullScreen(document.querySelector('.stage'), video);
    listenToKeys(document, () => !element('party').hidden, { toggle: () => party.toggle() });
  }

  #forms() {
    const party = this.#party;
    const on = (id, act) =>
      element(id).addEventListener('submit', (event) => {
        event.preventDefault();
        act();
      });
    on('chat-form', () => {
      const input = element('chat-text');
      const text = input.value.trim();
      if (!text) return;
      input.value = '';
      party.say(text).catch((error) => {
        input.value ||= text;
        showNotice(`Your message was not sent. ${error.message}`);
      });
    });
    on('rename-form', () => {
      const name = element('rename').value.trim();
      if (!name) return;
      party.rename(name).then(
        () => showNotice('The members see your new name.'),
        (error) => showNotice(error.message),
      );
    });
    on('title-form', () => this.#show(element('title-url').value.trim()));
    element('title-clip').onclick = () => this.#show(CLIP);
    element('invite-copy').onclick = () => this.#copy();
  }

  #show(url) {
    const complain = (text) => say(element('title-error'), text);
    complain('');
    const address = webAddress(url);
    if (!address) {
      complain('Give the whole address of a video file, with https:// before it.');
      return;
    }
    this.#party.show(address).then(
      () => {
        element('title-url').value = '';
      },
      (error) => complain(error.message),
    );
  }

  async #copy() {
    const copied = await copyText(element('invite-link'));
    showNotice(copied ? 'Link copied. Send it to your friends.' : 'The browser does not copy. Copy the selected link.');
  }

  // -- what is shown

  #moving() {
    const party = this.#party;
    const drift = party.connection.state === 'connected' && party.room.url ? party.player.drift : null;
    const ms = drift === null ? '' : String(Math.round(drift * 1000));
    this.#app.dataset.driftMs = ms;
    const output = element('drift');
    say(output, ms === '' ? '–' : `${Number(ms) > 0 ? '+' : ''}${ms.replace('-', '\u2212')} ms`);
    output.dataset.far = String(Math.abs(Number(ms)) > 250);
    if (!this.#dragging) this.#times(party.position);
    this.#player();
  }

  #times(position) {
    const { duration } = this.#party.player;
    const seek = element('seek');
    seek.disabled = !duration;
    seek.max = duration || 1;
    seek.step = 0.1;
    if (!this.#dragging) seek.value = position;
    seek.style.setProperty('--done', `${duration ? (100 * Math.min(position, duration)) / duration : 0}%`);
    seek.setAttribute('aria-valuetext', `${clock(position)} of ${clock(duration)}`);
    say(element('time'), clock(position));
    say(element('duration'), clock(duration));
  }

  #player() {
    const party = this.#party;
    const { player, room } = party;
    const video = element('video');
    this.#app.dataset.playing = String(party.playing);
    this.#app.dataset.blocked = String(player.blocked);
    this.#app.dataset.control = String(party.mayControl);
    const pauses = party.playing && !player.blocked;
    this.#app.dataset.button = pauses ? 'pause' : 'play';
    element('play').setAttribute('aria-label', pauses ? 'Pause' : 'Play');
    element('play').disabled = !room.url;
    element('mute').setAttribute('aria-pressed', String(!video.muted));
    element('fullscreen').hidden = !canFillScreen(video);
    element('join-playback').hidden = !(player.blocked && party.playing);
    say(element('screen-note'), this.#note(player, room));
  }

  #note(player, room) {
    if (!room.id) return '';
    if (!room.url) return this.#party.mayControl ? 'Choose a video below.' : 'The host has not chosen a video yet.';
    if (player.failed) return 'This page cannot play that title: it is no video file, or cannot be reached.';
    if (room.hold?.playing && room.hold.ready) return 'Waiting for the other players…';
    return player.stalled && !player.blocked ? 'Loading…' : '';
  }

  #lines() {
    const { lines } = this.#party.room;
    const list = element('chat');
    const atEnd = list.scrollHeight - list.scrollTop - list.clientHeight < 40;
    while (this.#shownLines.length && this.#shownLines[0] !== lines[0]) {
      this.#shownLines.shift();
      list.firstElementChild?.remove();
    }
    for (const line of lines.slice(this.#shownLines.length)) {
      this.#shownLines.push(line);
      list.append(this.#line(line));
    }
    if (atEnd) list.scrollTop = list.scrollHeight;
  }

  #line(line) {
    if (line.kind !== 'chat') {
      const text = noteText(line);
      const note = made('li', 'note', text);
      const { name } = line;
      if (text.startsWith(name)) note.replaceChildren(nameNode(name), text.slice(name.length));
      return note;
    }
    // Only the server has this user id; the name alone would prove nothing.
    const announced = line.userId === 'server';
    const item = made('li', announced ? 'said announced' : line.userId === this.#party.me ? 'said mine' : 'said');
    // No line of a member has this label, whatever the member's name is.
    const sender = announced ? made('span', 'tag host', 'Announcement of this server') : nameNode(line.name);
    const head = made('p', 'said-by');
    const time = made('time', '', new Date(line.at).toLocaleTimeString([], { hour: '2-digit', minute: '2-digit' }));
    time.dateTime = new Date(line.at).toISOString();
    head.append(sender, ' ', time);
    const text = made('p', 'said-text', line.text);
    text.dir = 'auto';
    item.append(head, text);
    return item;
  }

  #title() {
    const { url } = this.#party.room;
    element('title-form').hidden = !this.#party.mayControl;
    const link = element('title-link');
    if (this.#shownUrl === url) return;
    this.#shownUrl = url;
    say(element('title-error'), '');
    const known = url && url !== CLIP;
    link.hidden = !known;
    // Any member may have set the room's title: only an address that the browser opens as a web page becomes a link.
    if (known && webAddress(url)) link.href = webAddress(url);
    else link.removeAttribute('href');
    link.textContent = known ? shownAddress(url) : '';
    say(element('title-name'), url === CLIP ? 'The sample clip' : url ? '' : 'Nothing yet');
  }

  #invite() {
    const { room, pin, ticket } = this.#party;
    // By a token only its bearer comes in.
    element('invite').hidden = Boolean(ticket);
    element('invite-own').hidden = !ticket;
    element('invite-locked').hidden = !room.locked;
    if (ticket) return;
    element('invite-link').value = serverUrl(`?room=${encodeURIComponent(room.id)}`);
    say(element('invite-pin'), pin ? `PIN ${pin}` : '');
    if (this.#inviteFor === room.id) return;
    this.#inviteFor = room.id;
    fetch(serverUrl(`api/short-id/${encodeURIComponent(room.id)}`))
      .then((answer) => (answer.ok ? answer.json() : Promise.reject(new Error(`HTTP ${answer.status}`))))
      .then((found) => say(element('invite-code'), found.shortId))
      .catch(() => {
        this.#inviteFor = '';
      });
  }
}
