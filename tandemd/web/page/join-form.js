// The first screen: a name, and a party to start or to join.

import { parsedAddress } from './browser.js';
import { DAMAGED, mayRetry, refusal, waiting, waitsForPin } from './error-texts.js';
import { randomWord } from './identity.js';
import { CLIP } from './room-controller.js';
import { element, say, showScreen } from './dom.js';
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
    if (ticket && !ticket.readable) this.complain(DAMAGED);
  }

  get #joining() {
    return element('mode-join').checked;
  }

  #welcome(ticket) {
    element('mode-join').checked = true;
    element('mode').hidden = true;
    // A token is seldom used together with a PIN.
    element('pin-field').hidden = Boolean(ticket);
    element('start-title').textContent = ticket?.hosts ? 'Your party.' : 'You are invited.';
    element('start-text').textContent = ticket?.hosts
      ? 'You are its host. Enter your name to join.'
      : 'A friend has invited you to a watch party. Enter your name to join.';
  }

  #mode() {
    const joining = this.#joining;
    element('create-fields').hidden = joining;
    element('join-fields').hidden = !joining || Boolean(this.#invited.roomId);
    element('pin-hint').textContent = joining ? 'Only if the party has a PIN.' : 'Guests need this PIN to join.';
    element('start-button').textContent = joining ? 'Join the party' : 'Start the party';
    this.complain('');
  }

  complain(text) {
    say(element('start-wait'), '');
    say(element('start-error'), text);
  }

  // A JOIN is under way.
  busy() {
    element('start-button').disabled = true;
  }

  // The JOIN waits at the server, and the person may change name and PIN meanwhile. retry(name, pin): sends another JOIN.
  waits(error, retry) {
    this.#offer(retry, { label: 'Try again', pin: waitsForPin(error) });
    say(element('start-error'), '');
    say(element('start-wait'), waiting(error));
  }

  // Back here, because the room has a PIN or has refused or removed this member. now: the server's time, or null.
  refused(error, retry, now) {
    const { ticket } = this.#identity;
    const pin = error.code === 'bad_pin';
    this.#offer(retry, { label: pin ? 'Join the party' : mayRetry(error) ? 'Try again' : '', pin });
    if (!pin) {
      say(element('start-title'), 'You are not in the party.');
      say(element('start-text'), '');
    }
    this.complain(refusal(error, { pin: element('pin').value.trim(), ticket, now }));
  }

  // Show the form for another try. label: of its button, '' if no try helps. pin: whether another PIN may help.
  #offer(retry, { label, pin }) {
    this.#retry = retry;
    this.#invitedFields();
    const [button, other] = [element('start-button'), element('start-other')];
    const moved = !element('start').contains(document.activeElement);
    showScreen('start');
    button.disabled = false;
    button.hidden = !label;
    say(button, label);
    other.hidden = Boolean(this.#identity.ticket);
    element('name-field').hidden = !label;
    if (!label) element('pin-field').hidden = true;
    if (pin) {
      element('pin-field').hidden = false;
      element('pin-optional').hidden = true;
      say(element('pin-hint'), 'The host sees the PIN below the invite link.');
      // A wait must not take the focus from the text that the person corrects.
      if (document.activeElement !== element('name')) element('pin').focus();
      element('pin').select();
    } else if (moved || document.activeElement === document.body) {
      (label ? button : other).focus();
    }
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
      say(element('start-wait'), '');
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
      const link = parsedAddress(typed);
      const room = link?.searchParams.get('room') ?? link?.searchParams.get('tandemRoom');
      if (room) return room;
      const [, linked, pin] = link?.pathname.match(/\/room\/([0-9a-z]+)(?:\/([0-9]+))?\/?$/i) ?? [];
      if (!linked) throw new Error('This is not the link of a party. Check it, or ask for the invite code.');
      code = linked;
      element('pin').value ||= pin ?? '';
    }
    const answer = await fetch(serverUrl(`api/room/${encodeURIComponent(code)}`)).catch(() => null);
    if (answer?.ok) return (await answer.json()).roomId;
    if (answer?.status === 404) throw new Error('No party has this code. Check it, or ask for the link.');
    if (answer?.status === 429) throw new Error('Too many codes tried. Wait a minute, then try again.');
    throw new Error('The server cannot be reached. Try again in a moment.');
  }
}
