// The first screen: a name, and a party to start or to join.

import { randomWord } from './identity.js';
import { CLIP } from './room-controller.js';
import { refusal } from './error-texts.js';
import { element, showScreen } from './dom.js';
import { webAddress } from './text.js';
import { serverUrl } from './server-url.js';

export class Start {
  #identity;
  #invited;
  #begin;
  #retry = null;

  // invited: {roomId, pin} of the link that brought us here, each may be ''. begin(options): a Party's options.
  constructor(identity, invited, begin) {
    this.#identity = identity;
    this.#invited = invited;
    this.#begin = begin;
    const { ticket } = identity;
    element('name').value = ticket?.name || identity.name;
    element('name').readOnly = Boolean(ticket?.name);
    element('pin').value = invited.pin;
    element('mode').onchange = () => this.#mode();
    element('start-form').addEventListener('submit', (event) => {
      event.preventDefault();
      this.#submit();
    });
    if (invited.roomId) this.#welcome(ticket);
    this.#mode();
    showScreen('start');
    (element('name').value ? element('start-button') : element('name')).focus();
    if (ticket && !ticket.readable) this.complain('Your link is damaged. Ask whoever gave it to you for a new one.');
  }

  get #joining() {
    return element('mode-join').checked;
  }

  #welcome(ticket) {
    element('mode-join').checked = true;
    element('mode').hidden = true;
    // Who has a token seldom needs a PIN beside it.
    element('pin-field').hidden = Boolean(ticket);
    element('start-title').textContent = ticket?.hosts ? 'Your party.' : 'You are invited.';
    element('start-text').textContent = ticket?.hosts
      ? 'You are its host. Say who you are and go in.'
      : 'Enter your name to join the watch party.';
  }

  #mode() {
    const joining = this.#joining;
    element('create-fields').hidden = joining;
    element('join-fields').hidden = !joining || Boolean(this.#invited.roomId);
    element('pin-hint').textContent = joining ? 'Only if the party has one.' : 'Guests need this PIN to join.';
    element('start-button').textContent = joining ? 'Join the party' : 'Start the party';
    this.complain('');
  }

  complain(text) {
    element('start-error').textContent = text;
  }

  // Back here, because the room wants a PIN, does not let us in, or sent us out. retry(name, pin): asks again.
  refused(error, retry) {
    this.#retry = retry;
    this.#invitedFields();
    showScreen('start');
    element('start-button').disabled = false;
    const pin = element('pin').value;
    if (error.code === 'bad_pin') {
      element('pin-field').hidden = false;
      element('pin-optional').hidden = true;
      element('pin').focus();
      element('pin').select();
    } else {
      element('start-title').textContent = 'You are not in the party.';
      element('start-text').textContent = '';
      element('start-button').focus();
    }
    this.complain(refusal(error, { pin, ticket: this.#identity.ticket, now: Date.now() }));
  }

  #invitedFields() {
    element('mode-join').checked = true;
    this.#mode();
    element('mode').hidden = true;
    element('join-fields').hidden = true;
  }

  async #submit() {
    const button = element('start-button');
    const [name, pin] = [element('name').value.trim(), element('pin').value.trim()];
    this.complain('');
    if (!element('name').readOnly) this.#identity.name = name;
    button.disabled = true;
    if (this.#retry) {
      this.#retry(name, pin);
      return;
    }
    try {
      const options = this.#joining ? { roomId: await this.#wantedRoom(), url: '' } : this.#newRoom();
      this.#begin({ ...options, name, pin });
    } catch (error) {
      this.complain(error.message);
      button.disabled = false;
    }
  }

  #newRoom() {
    const url = element('start-url').value.trim();
    if (url && !webAddress(url)) {
      throw new Error('The video needs its whole address, with https:// before it.');
    }
    return { roomId: `room_${randomWord(16)}`, url: webAddress(url) || CLIP };
  }

  // The room of the link that brought us here, or of the code or link that was typed.
  async #wantedRoom() {
    if (this.#invited.roomId) return this.#invited.roomId;
    const typed = element('code').value.trim();
    if (!typed) throw new Error('Type the invite code or paste the link.');
    let code = typed;
    if (/^https?:\/\//i.test(typed)) {
      const link = URL.parse ? URL.parse(typed) : new URL(typed);
      const room = link?.searchParams.get('room') ?? link?.searchParams.get('tandemRoom');
      if (room) return room;
      const [, linked, pin] = link?.pathname.match(/\/room\/([0-9a-z]+)(?:\/([0-9]+))?\/?$/i) ?? [];
      if (!linked) throw new Error('This link leads to no party.');
      code = linked;
      element('pin').value ||= pin ?? '';
    }
    const answer = await fetch(serverUrl(`api/room/${encodeURIComponent(code)}`)).catch(() => null);
    if (answer?.ok) return (await answer.json()).roomId;
    if (answer?.status === 404) throw new Error('There is no party with this code. Check it, or ask for the link.');
    if (answer?.status === 429) throw new Error('Too many codes tried. Wait a minute, then try again.');
    throw new Error('The server cannot be reached. Try again in a moment.');
  }
}
