// The first screen: a name, and a party to start or to join.

import { parsedAddress } from './browser.js';
import { element, say, showScreen } from './dom.js';
import { mayRetry, refusal, waiting, waitsForPin } from './error-texts.js';
import { randomWord } from './identity.js';
import { t } from './language.js';
import { serverUrl } from './server-url.js';
import { webAddress } from './text.js';
import { CLIP } from './titles.js';

export class Start {
  #identity;
  #invited;
  #film;
  #begin;
  #retry = null;

  // invited: {roomId, pin, revives} of the link that brought us here; roomId and pin may be ''; revives: whether to start a
  // party of this id. film: the StartFilm. begin(options): begins the party with a Party's options; its promise is rejected if that fails.
  constructor(identity, invited, film, begin) {
    this.#identity = identity;
    this.#invited = invited;
    this.#film = film;
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
    element('mode').hidden = Boolean(invited.roomId);
    if (invited.roomId && !invited.revives) this.#welcome(ticket);
    this.#mode();
    showScreen('start');
    (element('name').value ? element('start-button') : element('name')).focus();
    if (ticket && !ticket.readable) this.complain(t('out.damaged'));
  }

  get #joining() {
    return element('mode-join').checked;
  }

  #welcome(ticket) {
    element('mode-join').checked = true;
    // A token is seldom used together with a PIN.
    element('pin-field').hidden = Boolean(ticket);
    const whose = ticket?.hosts ? 'yours' : 'invited';
    say(element('start-title'), t(`start.${whose}`));
    say(element('start-text'), t(`start.${whose}Text`));
  }

  #mode() {
    const joining = this.#joining;
    element('create-fields').hidden = joining;
    element('join-fields').hidden = !joining || Boolean(this.#invited.roomId);
    say(element('pin-hint'), t(joining ? 'start.pinJoin' : 'start.pinCreate'));
    say(element('start-button'), t(joining ? 'start.join' : 'start.create'));
    this.complain('');
  }

  complain(text) {
    say(element('start-wait'), '');
    say(element('start-error'), text);
  }

  // The party could not begin. The person may try again.
  failed(error) {
    this.complain(error.message);
    element('start-button').disabled = false;
  }

  // A JOIN is under way.
  busy() {
    element('start-button').disabled = true;
  }

  // The JOIN waits at the server, and the person may change name and PIN meanwhile. retry(name, pin): sends another JOIN.
  waits(error, retry) {
    this.#offer(retry, { label: t('start.again'), pin: waitsForPin(error) });
    say(element('start-error'), '');
    say(element('start-wait'), waiting(error));
  }

  // Back here, because the room has a PIN or has refused or removed this member. now: the server's time, or null.
  refused(error, retry, now) {
    const { ticket } = this.#identity;
    const pin = error.code === 'bad_pin';
    this.#offer(retry, { label: pin ? t('start.join') : mayRetry(error) ? t('start.again') : '', pin });
    if (!pin) {
      say(element('start-title'), t('start.out'));
      say(element('start-text'), '');
    }
    this.complain(refusal(error, { pin: element('pin').value.trim(), ticket, now }));
  }

  // The link led to no party. roomId: the room that it names.
  ended(roomId) {
    const other = element('start-other');
    other.href = serverUrl(`?room=${encodeURIComponent(roomId)}&new=1`);
    say(other, t('start.revive'));
    this.#offer(null, { label: '', pin: false });
    say(element('start-title'), t('start.ended'));
    say(element('start-text'), t('start.endedText'));
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
      say(element('pin-hint'), t('start.pinWhere'));
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
      await this.#begin({ ...options, name, pin });
    } catch (error) {
      this.failed(error);
    }
  }

  #newRoom() {
    const url = this.#film.title;
    if (url && !webAddress(url)) throw new Error(t('start.noAddress'));
    const refusal = this.#film.refusal();
    if (refusal) throw new Error(refusal);
    return { roomId: this.#invited.roomId || `room_${randomWord(16)}`, url: webAddress(url) || CLIP };
  }

  // The room of the link that brought us here, or of the code or link that was typed.
  async #wantedRoom() {
    if (this.#invited.roomId) return this.#invited.roomId;
    const typed = element('code').value.trim();
    if (!typed) throw new Error(t('start.noCode'));
    let code = typed;
    if (/^https?:\/\//i.test(typed)) {
      const link = parsedAddress(typed);
      const room = link?.searchParams.get('room') ?? link?.searchParams.get('tandemRoom');
      if (room) return room;
      const [, linked, pin] = link?.pathname.match(/\/room\/([0-9a-z]+)(?:\/([0-9]+))?\/?$/i) ?? [];
      if (!linked) throw new Error(t('start.noLink'));
      code = linked;
      element('pin').value ||= pin ?? '';
    }
    const answer = await fetch(serverUrl(`api/room/${encodeURIComponent(code)}`)).catch(() => null);
    if (answer?.status === 404) throw new Error(t('start.unknownCode'));
    if (answer?.status === 429) throw new Error(t('start.tooManyCodes'));
    const found = answer?.ok ? await answer.json().catch(() => null) : null;
    if (typeof found?.roomId !== 'string') throw new Error(t('start.unreachable'));
    return found.roomId;
  }
}
