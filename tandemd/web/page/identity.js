// Who this tab is, kept in the tab's session storage: after a reload it is the same member.

import { Ticket } from './auth-token.js';

function read(storage, key) {
  try {
    return JSON.parse(globalThis[storage].getItem(key));
  } catch {
    return null;
  }
}

function write(storage, key, value) {
  try {
    globalThis[storage].setItem(key, JSON.stringify(value));
  } catch {
    // Storage may be full or forbidden: then a reload makes somebody new, and nothing else is lost.
  }
}

export function randomWord(length) {
  // 252 is the greatest multiple of 36 in a byte: without it, some letters would come more often.
  let word = '';
  while (word.length < length) {
    for (const byte of crypto.getRandomValues(new Uint8Array(length))) {
      if (byte < 252 && word.length < length) word += (byte % 36).toString(36);
    }
  }
  return word;
}

export class Identity {
  // The Ticket that brought us here, or null. It says who we are, in its one room.
  ticket = null;

  constructor() {
    this.userId = read('sessionStorage', 'tandem.user') ?? this.#renewed();
  }

  #renewed() {
    const userId = `user_${randomWord(8)}`;
    write('sessionStorage', 'tandem.user', userId);
    return userId;
  }

  // Be whom a link's token names. Kept for a reload, and gone with the tab.
  take(token) {
    write('sessionStorage', 'tandem.ticket', token);
    this.#present(token);
  }

  // After a reload: be again whom the token for this room names, if there was one.
  resume(roomId) {
    const token = read('sessionStorage', 'tandem.ticket');
    if (token && roomId && new Ticket(token).roomId === roomId) this.#present(token);
  }

  #present(token) {
    this.ticket = new Ticket(token);
    if (this.ticket.readable) this.userId = this.ticket.userId;
  }

  // A duplicated tab has a copy of the storage. The lock tells it from a reload; without locks (plain http) the server
  // lets the newer tab speak and the older one offers to take over.
  async claim() {
    // Whom a token names cannot become somebody else: there, too, the newer tab speaks.
    if (!navigator.locks || this.ticket) return;
    const taken = await this.#lock(AbortSignal.timeout(1000));
    if (taken) return;
    sessionStorage.clear();
    this.userId = this.#renewed();
    await this.#lock(AbortSignal.timeout(1000));
  }

  #lock(signal) {
    return new Promise((resolve) => {
      const held = () => {
        resolve(true);
        return new Promise(() => {});
      };
      navigator.locks.request(`tandem.${this.userId}`, { signal }, held).catch(() => resolve(false));
    });
  }

  get name() {
    return read('sessionStorage', 'tandem.name') ?? read('localStorage', 'tandem.name') ?? '';
  }

  set name(name) {
    write('sessionStorage', 'tandem.name', name);
    write('localStorage', 'tandem.name', name);
  }

  // What this tab knows of a room: {token, epoch, seq, pin, lines}; an empty object if it was not there.
  recall(roomId) {
    const memory = read('sessionStorage', 'tandem.room');
    return memory?.roomId === roomId && memory.userId === this.userId ? memory : {};
  }

  remember(roomId, memory) {
    write('sessionStorage', 'tandem.room', { roomId, userId: this.userId, ...memory });
  }

  forgetRoom() {
    for (const key of ['tandem.room', 'tandem.ticket']) sessionStorage.removeItem(key);
  }
}
