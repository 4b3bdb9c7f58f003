// The WebSocket: reconnects after a loss, joins the room again, and has every command carried out once.

import { CommandQueue } from './commands.js';
import { Emitter } from './emitter.js';
import { CommandError, ProtocolError, RoomError, TimeoutError } from './errors.js';
import { Pulse } from './pulse.js';

export const CONNECTION_DEFAULTS = Object.freeze({
  // A PING this often; a connection is lost without a PONG, or without an open socket, within these times.
  pingEveryMs: 5000,
  pongWithinMs: 10_000,
  openWithinMs: 10_000,
  // The wait before the first attempt to reconnect. It doubles up to the limit; each wait is 50 to 100 % of that.
  backOffMs: 500,
  backOffLimitMs: 30_000,
  // How long a command may wait for its answer, over all connections.
  commandWithinMs: 10_000,
});

const RESTART_SPREAD_MS = 200;
const JOIN_SPREAD_MS = 500;
const TAKEOVER_MS = 60_000;
const OPEN = 1;
const STAYS_PENDING = new Set(['identity_conflict', 'room_full', 'locked', 'rate_limited', 'unavailable']);
const ENDED = new Set(['offline', 'refused', 'elsewhere']);
const TEXTS = {
  offline: 'The connection has not been started.',
  left: 'You have left the party.',
  detached: 'This party is open in another tab.',
  lost: 'The connection was lost.',
  no_answer: 'The server did not answer in time.',
  gone: 'You are no longer in the party.',
};

/*
 * `connection.state` is one of
 *   offline      not started, or closed
 *   connecting   the first socket is being opened
 *   joining      JOIN was sent
 *   waiting      JOIN was sent, and is granted as soon as it can be
 *   connected    in the room
 *   reconnecting the socket was lost
 *   refused      JOIN was refused for good; `join()` tries again
 *   elsewhere    another tab speaks for this member; `join()` takes over
 *
 * Events: state(state, error) with a RoomError or null; message(message), any message of the room; problem(error), a
 * ProtocolError for what cannot be understood.
 */
export class Connection extends Emitter {
  state = 'offline';
  // Why the state is waiting, refused or elsewhere; else null.
  error = null;
  // When the next attempt begins, by environment.elapsedMs(); null while none is waited for.
  retryAt = null;
  // The secret of the last ROOM_STATE, to be kept for the next run of the program.
  token;
  #url;
  #clock;
  #environment;
  #join;
  #options;
  #socket = null;
  #nonce;
  #nextId = 1;
  #joinId = 0;
  #commands;
  #pulse = null;
  #timer;
  #attempts = 0;
  #comeBackAt = 0;
  #ejectedAt = -Infinity;
  #endListening = () => {};

  /*
   * url: of the server's /ws. join(): returns the fields of JOIN: roomId, userId, and optionally username, pin, auth,
   * resume, schedules. token: of an earlier run. options: see CONNECTION_DEFAULTS.
   */
  constructor({ url, join, clock, environment, token = '', options = {} }) {
    super();
    this.#url = url;
    this.#join = join;
    this.#clock = clock;
    this.#environment = environment;
    this.#options = { ...CONNECTION_DEFAULTS, ...options };
    this.#commands = new CommandQueue(environment);
    this.#nonce = environment.randomWord(16);
    this.token = token;
  }

  // Connect and join, until `leave` or `close`.
  start() {
    if (!ENDED.has(this.state)) return;
    this.#endListening();
    this.#endListening = this.#environment.onReturn(() => this.#woke());
    this.#enter('connecting');
    this.#open();
  }

  // Leave the room for good.
  leave() {
    if (this.#socket?.readyState === OPEN) this.#write({ type: 'LEAVE' });
    this.close();
  }

  // Close the connection. The member stays in the room for its grace period.
  close() {
    this.#endListening();
    this.#endListening = () => {};
    this.#drop();
    const error = new RoomError({ code: 'left', message: TEXTS.left });
    this.#enter('offline', error);
    this.#commands.rejectAll(error);
  }

  // JOIN on the open socket, or open one for it.
  join() {
    this.#environment.clearTimeout(this.#timer);
    this.retryAt = null;
    if (this.#socket?.readyState !== OPEN) {
      this.#drop();
      this.#open();
      return;
    }
    this.#joinId = this.#nextId++;
    this.#enter('joining');
    const { resume, ...fields } = this.#join();
    const proof = this.token ? { token: this.token, resume } : {};
    const join = { type: 'JOIN', ...fields, ...proof, follows: true, keepsToken: true, nonce: this.#nonce };
    this.#write({ ...join, id: this.#joinId });
  }

  // Attempt now what would be attempted later.
  retryNow() {
    if (this.state === 'waiting') this.join();
    if (this.state !== 'reconnecting' || this.#socket) return;
    this.#attempts = 0;
    this.#open();
  }

  /*
   * The promise is resolved when the connection is in the room. It is rejected with a RoomError if the room refuses it, or
   * with a TimeoutError; then the attempts go on.
   */
  joined({ withinMs = 30_000 } = {}) {
    if (this.state === 'connected') return Promise.resolve();
    if (ENDED.has(this.state)) return Promise.reject(this.#reason());
    return new Promise((resolve, reject) => {
      const settle = (done, value) => {
        end();
        this.#environment.clearTimeout(timer);
        done(value);
      };
      const end = this.on('state', (state) => {
        if (state === 'connected') settle(resolve);
        else if (ENDED.has(state)) settle(reject, this.#reason());
      });
      const timer = this.#environment.setTimeout(() => settle(reject, this.#late()), withinMs);
    });
  }

  // Send what may be lost. Nothing happens outside of the room.
  send(message) {
    if (this.state === 'connected') this.#write(message);
  }

  /*
   * Send what must be carried out once, also over lost connections. The promise is resolved with the ACK, or rejected with a
   * CommandError of the server, with a RoomError if the connection is not in the room and does not come back, or with a
   * TimeoutError after withinMs.
   */
  command(message, { withinMs = this.#options.commandWithinMs } = {}) {
    if (ENDED.has(this.state)) return Promise.reject(this.#reason());
    const answer = this.#commands.add({ ...message, id: this.#nextId++ }, withinMs, () => this.#late());
    this.#flush();
    return answer;
  }

  #enter(state, error = null) {
    this.state = state;
    this.error = error;
    this.emit('state', state, error);
  }

  #write(message) {
    this.#socket.send(JSON.stringify(message));
  }

  // -- the socket

  #open() {
    const environment = this.#environment;
    environment.clearTimeout(this.#timer);
    this.retryAt = null;
    let socket;
    try {
      socket = environment.openSocket(this.#url);
    } catch (error) {
      // The program has no WebSocket, or forbids this address: another attempt would not help.
      this.#out(new RoomError({ code: 'unsupported', message: error.message }));
      return;
    }
    this.#socket = socket;
    const slow = environment.setTimeout(() => this.#lost(socket), this.#options.openWithinMs);
    socket.onopen = () => {
      environment.clearTimeout(slow);
      if (this.#socket !== socket) return;
      this.#clock.forget();
      // The answer to the ping comes before that to JOIN, so the server's time is known by then.
      this.#pulse = this.#pulseOf(socket);
      this.#pulse.start();
      this.join();
    };
    socket.onmessage = (event) => this.#socket === socket && this.#parse(event.data);
    // In some versions of Node, no close event follows the error of a handshake.
    socket.onclose = socket.onerror = () => {
      environment.clearTimeout(slow);
      this.#lost(socket);
    };
  }

  #drop() {
    this.#environment.clearTimeout(this.#timer);
    this.#pulse?.stop();
    this.#pulse = null;
    this.retryAt = null;
    const socket = this.#socket;
    this.#socket = null;
    this.#commands.rewind();
    try {
      socket?.close();
    } catch {
      // Some WebSockets throw while they connect.
    }
  }

  #lost(socket) {
    if (this.#socket !== socket) return;
    this.#drop();
    if (ENDED.has(this.state)) return;
    this.#retry();
    this.#enter('reconnecting');
  }

  #retry() {
    const { backOffMs, backOffLimitMs } = this.#options;
    const limit = Math.min(backOffLimitMs, backOffMs * 2 ** this.#attempts);
    this.#attempts += 1;
    const now = this.#environment.elapsedMs();
    const random = this.#environment.random();
    // Clients that lost their server together must not come back together.
    let wait = limit * (0.5 + random / 2);
    if (this.#comeBackAt) wait = Math.max(0, this.#comeBackAt - now) + random * RESTART_SPREAD_MS;
    this.#comeBackAt = 0;
    this.retryAt = now + wait;
    this.#timer = this.#environment.setTimeout(() => this.#open(), wait);
  }

  #woke() {
    if (this.state === 'reconnecting') this.retryNow();
    // This computer may have slept: find out at once whether the connection has survived, and what time it is.
    else this.#pulse?.check();
  }

  #pulseOf(socket) {
    return new Pulse({
      environment: this.#environment,
      clock: this.#clock,
      everyMs: this.#options.pingEveryMs,
      withinMs: this.#options.pongWithinMs,
      send: (message) => socket.readyState === OPEN && socket.send(JSON.stringify(message)),
      dead: () => this.#lost(socket),
    });
  }

  // -- what comes in

  #parse(data) {
    const now = this.#environment.elapsedMs();
    let message;
    try {
      message = JSON.parse(data);
    } catch (error) {
      this.emit('problem', new ProtocolError('The server has sent a frame that is not JSON.', { cause: error }));
      return;
    }
    if (typeof message?.type === 'string') this.#read(message, now);
    else this.emit('problem', new ProtocolError('The server has sent a frame without a type.'));
  }

  #read(message, now) {
    switch (message.type) {
      case 'PONG':
        this.#pulse?.pong(message, now);
        return;
      case 'ACK':
        this.#commands.resolve(message.id, message);
        this.#flush();
        return;
      case 'ERROR':
        this.#refused(message);
        return;
      case 'SERVER_RESTART':
        this.#comeBackAt = now + (Number(message.reconnectAfterMs) || 0);
        return;
      case 'KICKED':
      case 'ROOM_CLOSED':
        this.#out(removal(message));
        return;
      case 'ROOM_STATE':
        this.#entered(message);
        return;
      default:
        // After a kick the server sends a USER_LEFT for each other member, for old clients.
        if (!ENDED.has(this.state)) this.emit('message', message);
    }
  }

  #entered(state) {
    this.#clock.hint(state.serverTime);
    this.#attempts = 0;
    if (state.token) this.token = state.token;
    this.emit('message', state);
    if (this.state !== 'connected') this.#enter('connected');
    this.#flush();
  }

  #refused(error) {
    if (error.id !== undefined && error.id === this.#joinId) {
      this.#joinRefused(error);
    } else if (error.code === 'not_joined' || error.code === 'detached') {
      if (this.state === 'connected') this.#ejected();
    } else {
      this.#commands.reject(error.id, new CommandError(error));
      this.#flush();
    }
  }

  #joinRefused(error) {
    if (error.code === 'detached') {
      this.#ejected();
    } else if (STAYS_PENDING.has(error.code)) {
      this.#enter('waiting', new RoomError(error));
    } else if (error.retryAfterMs !== undefined && error.code !== 'kicked') {
      // A kicked member returns only by its own wish.
      const wait = error.retryAfterMs + this.#environment.random() * JOIN_SPREAD_MS;
      this.retryAt = this.#environment.elapsedMs() + wait;
      this.#timer = this.#environment.setTimeout(() => this.join(), wait);
      this.#enter('waiting', new RoomError(error));
    } else {
      this.#out(new RoomError(error));
    }
  }

  #out(error) {
    this.#enter('refused', error);
    this.#commands.rejectAll(error);
  }

  // The server counts this connection out: it lost the member, or another tab of the same member took over. Coming back
  // again and again would have two tabs fight for it.
  #ejected() {
    const now = this.#environment.elapsedMs();
    if (now - this.#ejectedAt < TAKEOVER_MS) {
      const error = new RoomError({ code: 'detached', message: TEXTS.detached });
      this.#enter('elsewhere', error);
      this.#commands.rejectAll(error);
    } else {
      this.#ejectedAt = now;
      this.#commands.rewind();
      this.join();
    }
  }

  // -- commands

  #flush() {
    if (this.state === 'connected') this.#commands.flush((message) => this.#write(message));
  }

  #late() {
    const code = this.state === 'connected' ? 'no_answer' : 'lost';
    return new TimeoutError(code, TEXTS[code]);
  }

  // Why nothing can be sent now or later.
  #reason() {
    return this.error ?? new RoomError({ code: 'offline', message: TEXTS.offline });
  }
}

// Return the error for a message that removes this member. message: KICKED or ROOM_CLOSED.
function removal({ type, banned, reason, retryAfterMs }) {
  const code = type === 'ROOM_CLOSED' ? 'closed' : banned ? 'banned' : 'kicked';
  return new RoomError({ code, reason, retryAfterMs, wasIn: true, message: TEXTS.gone });
}
