// The state of a room, built from its messages. Uses no element and no socket.

import { ProtocolError } from './errors.js';

const LINES = 200;
const STOPPED = Object.freeze({ position: 0, at: 0, playing: false, rate: 1 });

// Return where a timeline is at server time `now`, in seconds. It may begin in the future.
export function positionAt({ position, at, playing, rate = 1 }, now) {
  return playing ? position + (Math.max(0, now - at) / 1000) * rate : position;
}

/*
 * lines: what the members said and what happened, the last 200: {kind, userId, name, ...} with the kinds
 *   chat {text, at}, joined, left {reason}, host, control {enabled}, guest-control {enabled}, locked {locked}, gap.
 */
export class Room {
  id = '';
  url = '';
  hostId = null;
  guestControl = false;
  controllers = new Set();
  locked = false;
  // Who may not come in: what BANS says, which only the host is told.
  bans = [];
  // Names by user id, null for a member without a name.
  users = new Map();
  // 'watching', 'buffering' or 'away' by user id, as far as the members have said it.
  statuses = new Map();
  // Whether each member is in the call, by user id; undefined for a client that does not say, such as the old extension.
  inCall = new Map();
  // Where the film is: `position` in seconds at server time `at` in ms, which may be in the future.
  timeline = STOPPED;
  // While a seek waits for all members: {position, playing, begun, ready}; playing: whether the film goes on
  // then; begun, ready: how far we are.
  hold = null;
  // Whether the film waits for members that buffer.
  waitForBuffering = false;
  // How to keep players in step, see SYNC_DEFAULTS; null leaves it to the player.
  sync = null;
  // The version of the protocol and the abilities of the server.
  protocol = 0;
  features = new Set();
  lines = [];
  epoch = 0;
  seq = 0;
  #nameless;
  #part = Infinity;
  #joined = false;

  // memory: {epoch, seq, lines} of an earlier run. nameless: shown for a member without a name.
  constructor({ epoch = 0, seq = 0, lines = [] } = {}, nameless = 'Guest') {
    this.#nameless = nameless;
    this.epoch = epoch;
    this.seq = seq;
    this.lines = lines;
  }

  // A JOIN is under way: until ROOM_STATE, what comes are missed messages.
  expectState() {
    this.#joined = false;
  }

  // What to give in `resume` of JOIN, or undefined.
  get version() {
    return this.epoch ? { epoch: this.epoch, seq: this.seq } : undefined;
  }

  name(userId) {
    return this.users.get(userId) || this.#nameless;
  }

  mayControl(userId) {
    return this.hostId === userId || this.guestControl || this.controllers.has(userId);
  }

  // Where the film is at server time `now`, in seconds.
  positionAt(now) {
    return positionAt(this.timeline, now);
  }

  /*
   * Take in a message. Returns what it was about: 'state', 'people', 'title', 'timeline', 'hold', 'chat', or '' if there is
   * nothing to do. It is not taken in, and 'hole' is returned if something before it was missed, 'repeated' if it was
   * taken in before.
   * Throws a ProtocolError for a ROOM_STATE that is none.
   */
  apply(message) {
    if (message.type === 'ROOM_STATE') return this.#state(message);
    if (message.type === 'HOST_HEARTBEAT') {
      // Made from a state older than the one known here, or overtaken by a seek.
      if (message.seq < this.seq || this.hold) return '';
    } else if (message.seq !== undefined) {
      const order = this.#order(message);
      if (order !== 'next') return order;
    }
    return this.#change(message);
  }

  #order({ seq, prev = 0, part: [which] = [1] }) {
    if (seq < this.seq || (seq === this.seq && which <= this.#part)) return 'repeated';
    const missed = which === 1 ? prev > this.seq : seq !== this.seq || which !== this.#part + 1;
    if (missed && this.#joined) return 'hole';
    this.seq = seq;
    this.#part = which;
    return 'next';
  }

  #state(state) {
    if (!Array.isArray(state.users) || !Number.isFinite(state.currentTime) || !Number.isFinite(state.seq)) {
      throw new ProtocolError('The server has sent a ROOM_STATE that cannot be understood.');
    }
    // The server may not have the missed messages any more. After a restart the room has a new epoch, but its numbers go on.
    const lost = state.resumed === false && this.epoch > 0 && state.prev > this.seq;
    this.id = state.roomId;
    this.url = state.url;
    this.hostId = state.hostUserId;
    this.guestControl = state.guestControlEnabled;
    this.controllers = new Set(state.controllers);
    this.locked = Boolean(state.locked);
    // If there are any, BANS comes next.
    this.bans = [];
    this.users = new Map(state.users.map((user) => [user.userId, user.username]));
    this.statuses = new Map(state.users.filter((user) => user.status).map((user) => [user.userId, user.status]));
    this.inCall = new Map(state.users.map((user) => [user.userId, user.inCall]));
    this.timeline = filmOf(state, state.isPlaying, state.serverTime);
    this.hold = state.gate ? { position: state.gate.currentTime, playing: true, begun: false, ready: false } : null;
    this.waitForBuffering = Boolean(state.waitForBuffering);
    this.sync = state.sync ?? null;
    this.protocol = state.protocol ?? 0;
    this.features = new Set(state.features);
    this.epoch = state.epoch;
    this.seq = state.seq;
    // Every part of this change is in the state.
    this.#part = Infinity;
    this.#joined = true;
    if (lost) this.#line('gap');
    return 'state';
  }

  #change(message) {
    switch (message.type) {
      case 'CHAT':
        this.#line('chat', message.userId, {
          name: message.username || this.#nameless,
          text: message.text,
          at: message.timestamp,
        });
        return 'chat';
      case 'USER_JOINED': {
        const back = this.users.has(message.userId);
        this.users.set(message.userId, message.username);
        this.inCall.set(message.userId, message.inCall);
        if (!back) this.#line('joined', message.userId);
        return 'people';
      }
      case 'USER_LEFT':
        if (!this.users.has(message.userId)) return '';
        this.#line('left', message.userId, { reason: message.reason });
        this.users.delete(message.userId);
        this.statuses.delete(message.userId);
        this.inCall.delete(message.userId);
        this.controllers.delete(message.userId);
        return 'people';
      case 'USERNAME_UPDATED':
        this.users.set(message.userId, message.username);
        return 'people';
      case 'MEMBER_CALL':
        this.inCall.set(message.userId, message.joined);
        return 'people';
      case 'MEMBER_STATUS':
        this.statuses.set(message.userId, message.status);
        return 'people';
      case 'HOST_CHANGED':
        if (message.hostUserId !== this.hostId && message.hostUserId) this.#line('host', message.hostUserId);
        // If there are any for a new host, BANS comes next.
        if (message.hostUserId !== this.hostId) this.bans = [];
        this.hostId = message.hostUserId;
        return 'people';
      case 'CONTROL_DELEGATED':
        this.#line('control', message.userId, { enabled: message.enabled });
        this.controllers[message.enabled ? 'add' : 'delete'](message.userId);
        return 'people';
      case 'ROOM_LOCKED':
        this.#line('locked', this.hostId, { locked: message.locked });
        this.locked = message.locked;
        return 'people';
      case 'WAIT_FOR_BUFFERING':
        this.waitForBuffering = message.enabled;
        return 'people';
      case 'BANS':
        this.bans = message.bans;
        return 'people';
      case 'GUEST_CONTROL':
        // Without a number it repeats CONTROL_DELEGATED, for clients that do not know it.
        if (message.seq === undefined) return '';
        if (message.enabled !== this.guestControl) this.#line('guest-control', this.hostId, { enabled: message.enabled });
        this.guestControl = message.enabled;
        return 'people';
    }
    // What was missed is shown, but does not drive the player: ROOM_STATE follows and does.
    return message.replayed ? '' : this.#film(message);
  }

  #film(message) {
    switch (message.type) {
      case 'URL_CHANGE':
        if (message.url === this.url) return '';
        this.url = message.url;
        this.hold = null;
        this.timeline = { ...STOPPED, at: message.timestamp ?? 0 };
        return 'title';
      case 'PLAY_PAUSE':
        this.hold = null;
        this.timeline = filmOf(message, message.control === 'play', message.timestamp);
        return 'timeline';
      case 'RATE_CHANGED':
        this.timeline = filmOf(message, this.timeline.playing, message.timestamp);
        return 'timeline';
      case 'SEEK_PAUSE': {
        const { playing } = this.hold ?? this.timeline;
        this.hold = { position: message.currentTime, playing, begun: false, ready: false };
        this.timeline = { ...filmOf(message, false, message.timestamp), rate: this.timeline.rate };
        return 'hold';
      }
      case 'HOST_HEARTBEAT':
        this.timeline = filmOf(message, message.isPlaying, message.timestamp);
        return 'timeline';
    }
    return '';
  }

  #line(kind, userId, fields = {}) {
    this.lines.push({ kind, userId, name: this.name(userId), ...fields });
    if (this.lines.length > LINES) this.lines.shift();
  }
}

// Return the timeline of a message. `at` is exact and may be in the future; `told` is the time of an older server.
function filmOf({ currentTime, at, rate = 1 }, playing, told) {
  return { position: currentTime, at: at ?? told, playing, rate };
}
