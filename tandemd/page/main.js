// Where the page begins: who am I, which party, and then the party itself.

import { Identity, randomWord } from './identity.js';
import { CLIP, Party } from './party.js';
import { element, hideNotice, showConnection, showNotice, showScreen } from './shell.js';
import { PartyView } from './view.js';

const query = new URLSearchParams(location.search);
const invited = { roomId: query.get('room') ?? query.get('tandemRoom') ?? '', pin: query.get('pin') ?? '' };

const WAITING = {
  room_full: 'The party is full. You come in as soon as somebody leaves.',
  locked: 'The host has locked the party. You come in as soon as it is open again.',
  identity_conflict: 'Taking over from your former connection…',
};

class Start {
  #identity;
  #begin;
  #retry = null;

  // begin(options): a Party's options.
  constructor(identity, begin) {
    this.#identity = identity;
    this.#begin = begin;
    element('name').value = identity.name;
    element('pin').value = invited.pin;
    element('mode').onchange = () => this.#mode();
    element('start-form').addEventListener('submit', (event) => {
      event.preventDefault();
      this.#submit();
    });
    if (invited.roomId) this.#invited();
    this.#mode();
    showScreen('start');
    (element('name').value ? element('start-button') : element('name')).focus();
  }

  get #joining() {
    return element('mode-join').checked;
  }

  #invited() {
    element('mode-join').checked = true;
    element('mode').hidden = true;
    element('start-title').textContent = 'You are invited.';
    element('start-text').textContent = 'Somebody waits for you at a watch party. Say who you are and come in.';
  }

  #mode() {
    const joining = this.#joining;
    element('create-fields').hidden = joining;
    element('join-fields').hidden = !joining || Boolean(invited.roomId);
    element('pin-hint').textContent = joining ? 'Only if the party has one.' : 'Whoever joins has to know it.';
    element('start-button').textContent = joining ? 'Join the party' : 'Start the party';
    this.complain('');
  }

  complain(text) {
    element('start-error').textContent = text;
  }

  // Back here, because the room wants a PIN or does not let us in. retry(pin): asks again.
  refused(error, retry) {
    this.#retry = retry;
    this.#invitedFields();
    showScreen('start');
    if (error.code === 'bad_pin') {
      element('pin-optional').hidden = true;
      this.complain(element('pin').value ? 'This is not the PIN of that party.' : 'This party has a PIN.');
      element('pin').focus();
      element('pin').select();
    } else {
      this.complain(error.message);
    }
    element('start-button').disabled = false;
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
    this.#identity.name = name;
    button.disabled = true;
    if (this.#retry) {
      this.#retry(pin);
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
    if (url && !/^https?:\/\/./i.test(url)) {
      throw new Error('The video needs its whole address, with https:// before it.');
    }
    return { roomId: `room_${randomWord(16)}`, url: url || CLIP };
  }

  // The room of the link that brought us here, or of the code or link that was typed.
  async #wantedRoom() {
    if (invited.roomId) return invited.roomId;
    const typed = element('code').value.trim();
    if (!typed) throw new Error('Type the invite code or paste the link.');
    let code = typed;
    if (/^https?:\/\//i.test(typed)) {
      const link = URL.parse ? URL.parse(typed) : new URL(typed);
      const room = link?.searchParams.get('room') ?? link?.searchParams.get('tandemRoom');
      if (room) return room;
      const [, linked, pin] = link?.pathname.match(/^\/room\/([0-9a-z]+)(?:\/([0-9]+))?\/?$/i) ?? [];
      if (!linked) throw new Error('This link leads to no party.');
      code = linked;
      element('pin').value ||= pin ?? '';
    }
    const answer = await fetch(`/api/room/${encodeURIComponent(code)}`).catch(() => null);
    if (answer?.ok) return (await answer.json()).roomId;
    if (answer?.status === 404) throw new Error('There is no party with this code. Check it, or ask for the link.');
    if (answer?.status === 429) throw new Error('Too many codes tried. Wait a minute, then try again.');
    throw new Error('The server cannot be reached. Try again in a moment.');
  }
}

function address(roomId) {
  // The PIN must not stay where it is seen and copied.
  history.replaceState(null, '', roomId ? `/?room=${encodeURIComponent(roomId)}` : '/');
}

function run(identity) {
  let party = null;
  let view = null;
  const begin = (options) => {
    party = new Party(element('video'), identity, options, {
      state: (state, error) => entered(state, error),
      changed: (what) => view?.changed(what),
      problem: (text) => showNotice(text),
    });
    view = new PartyView(party);
    address(options.roomId);
    party.start();
  };
  const start = new Start(identity, begin);

  function entered(state, error) {
    showConnection(state);
    switch (state) {
      case 'connected':
        hideNotice();
        if (element('party').hidden) {
          showScreen('party');
          element('play').focus({ preventScroll: true });
        }
        break;
      case 'waiting':
        showNotice(WAITING[error.code] ?? error.message, { label: 'Try again', run: () => party.connection.join() });
        break;
      case 'refused':
        if (!element('party').hidden) party.rest();
        start.refused(error, (pin) => party.retry(pin));
        break;
      case 'elsewhere':
        party.rest();
        showNotice('This party is open in another tab.', {
          label: 'Continue here',
          run: () => party.connection.join(),
        });
        break;
    }
  }

  element('leave').onclick = () => {
    party.leave();
    location.assign('/');
  };

  // A reload: this tab was in the party already.
  const memory = invited.roomId ? identity.recall(invited.roomId) : {};
  if (memory.token) {
    element('start-button').disabled = true;
    begin({ roomId: invited.roomId, pin: '', name: identity.name, url: '' });
  }
}

const identity = new Identity();
await identity.claim();
run(identity);
