// The identity of this tab, kept in the tab's session storage: after a reload it is the same member. Without storage, a
// reload makes a new member, and nothing else is lost.

import { Ticket } from './auth-token.js';
import { discard, environment, store, stored } from './browser.js';

const LOCK_WITHIN_MS = 1000;

// Return a stored text, or ''.
function word(area, key) {
  const value = stored(area, key);
  return typeof value === 'string' ? value : '';
}

export const randomWord = (length) => environment.randomWord(length);

export class Identity {
  // The Ticket of the link, or null. It names the user, in its one room.
  ticket = null;

  constructor() {
    this.userId = word('tab', 'tandem.user') || this.#renewed();
  }

  #renewed() {
    const userId = `user_${randomWord(8)}`;
    store('tab', 'tandem.user', userId);
    return userId;
  }

  // Take the identity that a link's token names. It lasts over a reload, and ends with the tab.
  take(token) {
    store('tab', 'tandem.ticket', token);
    this.#present(token);
  }

  // After a reload: take the token for this room again, if the tab had one.
  resume(roomId) {
    const token = word('tab', 'tandem.ticket');
    if (token && roomId && new Ticket(token).roomId === roomId) this.#present(token);
  }

  #present(token) {
    this.ticket = new Ticket(token);
    if (this.ticket.readable) this.userId = this.ticket.userId;
  }

  // A duplicated tab has a copy of the storage. The lock tells it from a reload; without locks (plain http) the server
  // lets the newer tab speak and the older one offers to take over.
  async claim() {
    // A token names its user: there, too, the newer tab speaks.
    if (this.ticket || (await this.#lock()) !== 'taken') return;
    this.forgetRoom();
    this.userId = this.#renewed();
    await this.#lock();
  }

  #lock() {
    return environment.holdLock(`tandem.${this.userId}`, LOCK_WITHIN_MS);
  }

  get name() {
    return word('tab', 'tandem.name') || word('browser', 'tandem.name');
  }

  set name(name) {
    store('tab', 'tandem.name', name);
    store('browser', 'tandem.name', name);
  }

  // Return the memory of this tab of a room: {token, epoch, seq, pin, lines}; an empty object if it was not there.
  recall(roomId) {
    const memory = stored('tab', 'tandem.room');
    return memory?.roomId === roomId && memory.userId === this.userId ? memory : {};
  }

  remember(roomId, memory) {
    store('tab', 'tandem.room', { roomId, userId: this.userId, ...memory });
  }

  forgetRoom() {
    for (const key of ['tandem.room', 'tandem.ticket']) discard('tab', key);
  }
}
