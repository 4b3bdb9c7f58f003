// The WebSocket: opened again whenever it is lost, with the room joined again, and every command carried out once.

import { elapsedMs, onReturn } from './browser.js';
import { randomWord } from './identity.js';
import { sentOut } from './error-texts.js';

const PING_EVERY_MS = 15_000;
const PONG_WITHIN_MS = 10_000;
const OPEN_WITHIN_MS = 10_000;
const NEXT_PINGS = [300, 700, 1500];
const BACK_OFF_MS = 500;
const BACK_OFF_LIMIT_MS = 30_000;
const TAKEOVER_MS = 60_000;
const STAYS_PENDING = new Set(['identity_conflict', 'room_full', 'locked', 'rate_limited', 'unavailable']);

export class CommandError extends Error {
  constructor({ code, message, retryAfterMs }) {
    super(message);
    this.code = code;
    this.retryAfterMs = retryAfterMs;
  }
}

/*
 * `connection.state` is one of
 *   offline      not started, or stopped
 *   connecting   the first socket is being opened
 *   joining      JOIN was sent
 *   waiting      JOIN was sent, and is granted as soon as it can be
 *   connected    in the room
 *   reconnecting the socket was lost
 *   refused      JOIN was refused for good; `join()` tries again
 *   elsewhere    another tab speaks for this member; `join()` takes over
 *
 * join(): returns the fields of JOIN. changed(state, error): the state. received(message): any message of the room.
 */
export class Connection {
  state = 'offline';
  #url;
  #clock;
  #join;
  #changed;
  #received;
  #socket = null;
  #nonce = randomWord(16);
  #nextId = 1;
  #joinId = 0;
  #commands = new Map();
  #pings = [];
  #pingTimers = [];
  #pongTimer = 0;
  #timer = 0;
  #attempts = 0;
  #comeBackAt = 0;
  #ejectedAt = -Infinity;

  constructor({ url, clock, join, changed, received }) {
    this.#url = url;
    this.#clock = clock;
    this.#join = join;
    this.#changed = changed;
    this.#received = received;
    onReturn(() => this.#woke());
  }

  start() {
    this.#enter('connecting');
    this.#open();
  }

  // Leave the room for good.
  stop() {
    this.send({ type: 'LEAVE' });
    this.#enter('offline');
    this.#drop();
    this.#fail(() => true, { code: 'left', message: 'You have left the party.' });
  }

  // JOIN on the open socket, or open one for it.
  join() {
    clearTimeout(this.#timer);
    if (this.#socket?.readyState !== WebSocket.OPEN) {
      this.#drop();
      this.#open();
      return;
    }
    this.#enter('joining');
    this.#joinId = this.#nextId++;
    this.#write({ type: 'JOIN', ...this.#join(), follows: true, keepsToken: true, nonce: this.#nonce, id: this.#joinId });
  }

  // Send what may be lost. Nothing happens outside of the room.
  send(message) {
    if (this.state === 'connected') this.#write(message);
  }

  /*
   * Send what must be carried out once. The promise is resolved with the ACK, or rejected with a CommandError.
   * lifeMs: how long it may be sent again after lost connections; then it is rejected with code "lost".
   */
  command(message, lifeMs = 10_000) {
    const id = this.#nextId++;
    return new Promise((resolve, reject) => {
      const command = { message: { ...message, id }, until: elapsedMs() + lifeMs, resolve, reject };
      this.#commands.set(id, command);
      // Outside a room no answer comes: the command must not wait longer than it lives.
      setTimeout(() => this.state !== 'connected' && this.#expire(), lifeMs + 50);
      this.send(command.message);
    });
  }

  #enter(state, error = null) {
    this.state = state;
    this.#changed(state, error);
  }

  #write(message) {
    this.#socket.send(JSON.stringify(message));
  }

  #open() {
    clearTimeout(this.#timer);
    let socket;
    try {
      socket = new WebSocket(this.#url);
    } catch {
      this.#retry();
      return;
    }
    this.#socket = socket;
    const slow = setTimeout(() => this.#lost(socket), OPEN_WITHIN_MS);
    socket.onopen = () => {
      clearTimeout(slow);
      this.#clock.forget();
      // The answer to the ping comes before that to JOIN, so the server's time is known by then.
      this.#keepAlive();
      this.join();
    };
    socket.onmessage = (event) => this.#socket === socket && this.#read(JSON.parse(event.data));
    socket.onclose = () => {
      clearTimeout(slow);
      this.#lost(socket);
    };
  }

  #drop() {
    clearTimeout(this.#pongTimer);
    this.#pingTimers.forEach(clearTimeout);
    this.#pingTimers = [];
    this.#pings = [];
    const socket = this.#socket;
    this.#socket = null;
    if (socket) socket.onclose = null;
    socket?.close();
  }

  #lost(socket) {
    if (this.#socket !== socket) return;
    this.#drop();
    if (this.state === 'offline' || this.state === 'refused' || this.state === 'elsewhere') return;
    this.#enter('reconnecting');
    this.#expire();
    this.#retry();
  }

  #retry() {
    const limit = Math.min(BACK_OFF_LIMIT_MS, BACK_OFF_MS * 2 ** this.#attempts);
    this.#attempts += 1;
    // Clients that lost their server together must not come back together.
    let wait = limit * (0.5 + Math.random() / 2);
    if (this.#comeBackAt) wait = Math.max(0, this.#comeBackAt - elapsedMs()) + Math.random() * 200;
    this.#comeBackAt = 0;
    this.#timer = setTimeout(() => this.#open(), wait);
  }

  #hurry() {
    if (this.state !== 'reconnecting' || this.#socket) return;
    this.#attempts = 0;
    this.#open();
  }

  #woke() {
    this.#hurry();
    // This computer may have slept: find out at once whether the connection has survived, and what time it is.
    if (this.#socket?.readyState === WebSocket.OPEN && !this.#pings.length) this.#ping();
  }

  // -- the pulse

  #keepAlive() {
    this.#ping();
    this.#pingTimers = NEXT_PINGS.map((after) => setTimeout(() => this.#ping(), after));
    this.#pingTimers.push(setInterval(() => this.#ping(), PING_EVERY_MS));
  }

  #ping() {
    const socket = this.#socket;
    if (socket?.readyState !== WebSocket.OPEN) return;
    this.#pings.push(elapsedMs());
    this.#write({ type: 'PING' });
    if (this.#pings.length === 1) this.#pongTimer = setTimeout(() => this.#lost(socket), PONG_WITHIN_MS);
  }

  #pong(message) {
    const now = elapsedMs();
    if (this.#pings.length) this.#clock.sample(this.#pings.shift(), now, message.timestamp);
    clearTimeout(this.#pongTimer);
    const socket = this.#socket;
    if (this.#pings.length) this.#pongTimer = setTimeout(() => this.#lost(socket), PONG_WITHIN_MS);
  }

  // -- what comes in

  #read(message) {
    switch (message.type) {
      case 'PONG':
        this.#pong(message);
        return;
      case 'ACK':
        this.#commands.get(message.id)?.resolve(message);
        this.#commands.delete(message.id);
        return;
      case 'ERROR':
        this.#refused(message);
        return;
      case 'SERVER_RESTART':
        this.#comeBackAt = elapsedMs() + message.reconnectAfterMs;
        return;
      case 'KICKED':
      case 'ROOM_CLOSED':
        this.#out(sentOut(message));
        return;
      case 'ROOM_STATE':
        this.#clock.hint(message.serverTime);
        this.#attempts = 0;
        this.#received(message);
        if (this.state !== 'connected') {
          this.#enter('connected');
          this.#expire();
          for (const command of this.#commands.values()) this.#write(command.message);
        }
        return;
      default:
        // After a kick the server sends a USER_LEFT for each other member, for old clients.
        if (this.state !== 'refused') this.#received(message);
    }
  }

  #refused(error) {
    if (error.id === this.#joinId) {
      this.#joinRefused(error);
    } else if (error.code === 'not_joined' || error.code === 'detached') {
      this.#ejected();
    } else if (this.#commands.has(error.id)) {
      this.#commands.get(error.id).reject(new CommandError(error));
      this.#commands.delete(error.id);
    }
  }

  #joinRefused(error) {
    if (STAYS_PENDING.has(error.code)) {
      this.#enter('waiting', error);
    } else if (error.code === 'kicked') {
      // A kicked member returns only by its own wish.
      this.#out(error);
    } else if (error.retryAfterMs !== undefined) {
      this.#enter('waiting', error);
      this.#timer = setTimeout(() => this.join(), (error.retryAfterMs ?? 1000) + Math.random() * 500);
    } else {
      this.#out(error);
    }
  }

  #out(error) {
    this.#enter('refused', error);
    this.#fail(() => true, error);
  }

  // The server counts this connection out: it lost the member, or another tab of the same member took over. Coming back
  // again and again would have two tabs fight for it.
  #ejected() {
    if (this.state !== 'connected') return;
    const now = elapsedMs();
    if (now - this.#ejectedAt < TAKEOVER_MS) {
      this.#enter('elsewhere');
      this.#fail(() => true, { code: 'detached', message: 'This party is open in another tab.' });
    } else {
      this.#ejectedAt = now;
      this.join();
    }
  }

  #expire() {
    const now = elapsedMs();
    this.#fail((command) => command.until < now, { code: 'lost', message: 'The connection was lost.' });
  }

  #fail(which, error) {
    for (const [id, command] of this.#commands) {
      if (!which(command)) continue;
      this.#commands.delete(id);
      command.reject(new CommandError(error));
    }
  }
}
