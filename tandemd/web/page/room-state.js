// A room as its messages tell of it. Holds no element and no socket.

const LINES = 200;

export class Room {
  id = '';
  url = '';
  hostId = null;
  guestControl = false;
  controllers = new Set();
  locked = false;
  // Who may not come in: what BANS says, which only the host is told.
  bans = [];
  users = new Map();
  // Where the film is: `position` in seconds at server time `at` in ms.
  timeline = { position: 0, at: 0, playing: false };
  // While a seek waits for all members: {position, playing, begun, ready}; playing: whether the film goes on
  // then; begun, ready: how far we are.
  hold = null;
  lines = [];
  epoch = 0;
  seq = 0;
  #part = Infinity;
  #joined = false;

  constructor(memory = {}) {
    this.epoch = memory.epoch ?? 0;
    this.seq = memory.seq ?? 0;
    this.lines = memory.lines ?? [];
  }

  // A JOIN is under way: until ROOM_STATE, what comes are missed messages.
  expectState() {
    this.#joined = false;
  }

  name(userId) {
    return this.users.get(userId) || 'Guest';
  }

  mayControl(userId) {
    return this.hostId === userId || this.guestControl || this.controllers.has(userId);
  }

  // Where the film is at server time `now`, in seconds.
  positionAt(now) {
    const { position, at, playing } = this.timeline;
    return playing ? position + Math.max(0, now - at) / 1000 : position;
  }

  /*
   * Take in a message. Returns what it was about: 'hole' if something before it was missed (then it was not taken in),
   * 'state', 'people', 'title', 'timeline', 'hold', 'chat', or '' if there is nothing to do.
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
    if (seq < this.seq || (seq === this.seq && which <= this.#part)) return '';
    const missed = which === 1 ? prev > this.seq : seq !== this.seq || which !== this.#part + 1;
    if (missed && this.#joined) return 'hole';
    this.seq = seq;
    this.#part = which;
    return 'next';
  }

  #state(state) {
    const lost = state.resumed === false && state.epoch === this.epoch && state.prev > this.seq;
    this.id = state.roomId;
    this.url = state.url;
    this.hostId = state.hostUserId;
    this.guestControl = state.guestControlEnabled;
    this.controllers = new Set(state.controllers);
    this.locked = Boolean(state.locked);
    // If there are any, BANS comes next.
    this.bans = [];
    this.users = new Map(state.users.map((user) => [user.userId, user.username]));
    this.timeline = { position: state.currentTime, at: state.serverTime, playing: state.isPlaying };
    this.hold = state.gate ? { position: state.gate.currentTime, playing: true, begun: false, ready: false } : null;
    this.epoch = state.epoch;
    this.seq = state.seq;
    // Every part of this change is in the state.
    this.#part = Infinity;
    this.#joined = true;
    if (lost) this.#note('Some messages may be missing here.');
    return 'state';
  }

  #change(message) {
    switch (message.type) {
      case 'USER_JOINED': {
        const back = this.users.has(message.userId);
        this.users.set(message.userId, message.username);
        if (!back) this.#noteAbout(message.userId, ' has joined.');
        return 'people';
      }
      case 'USER_LEFT':
        if (!this.users.has(message.userId)) return '';
        this.#noteAbout(message.userId, ` ${message.reason ? `was ${message.reason}` : 'has left'}.`);
        this.users.delete(message.userId);
        this.controllers.delete(message.userId);
        return 'people';
      case 'USERNAME_UPDATED':
        this.users.set(message.userId, message.username);
        return 'people';
      case 'HOST_CHANGED':
        if (message.hostUserId !== this.hostId && message.hostUserId) {
          this.#noteAbout(message.hostUserId, ' is the host now.');
        }
        // If there are any for a new host, BANS comes next.
        if (message.hostUserId !== this.hostId) this.bans = [];
        this.hostId = message.hostUserId;
        return 'people';
      case 'CONTROL_DELEGATED':
        this.#noteAbout(message.userId, ` may ${message.enabled ? '' : 'not '}control the film now.`);
        this.controllers[message.enabled ? 'add' : 'delete'](message.userId);
        return 'people';
      case 'ROOM_LOCKED':
        this.#note(message.locked ? 'The host has locked the party.' : 'The party is open again.');
        this.locked = message.locked;
        return 'people';
      case 'BANS':
        this.bans = message.bans;
        return 'people';
      case 'GUEST_CONTROL':
        // Without a number it repeats CONTROL_DELEGATED, for clients that do not know it.
        if (message.seq === undefined) return '';
        if (message.enabled !== this.guestControl) {
          this.#note(message.enabled ? 'Guests may control the film now.' : 'Only the host controls the film now.');
        }
        this.guestControl = message.enabled;
        return 'people';
      case 'CHAT':
        this.#line({
          from: message.userId,
          name: message.username || 'Guest',
          text: message.text,
          at: message.timestamp,
        });
        return 'chat';
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
        this.timeline = { position: 0, at: message.timestamp ?? 0, playing: false };
        return 'title';
      case 'PLAY_PAUSE':
        this.hold = null;
        this.timeline = { position: message.currentTime, at: message.timestamp, playing: message.control === 'play' };
        return 'timeline';
      case 'SEEK_PAUSE': {
        const { playing } = this.hold ?? this.timeline;
        this.hold = { position: message.currentTime, playing, begun: false, ready: false };
        this.timeline = { position: message.currentTime, at: message.timestamp, playing: false };
        return 'hold';
      }
      case 'HOST_HEARTBEAT':
        this.timeline = { position: message.currentTime, at: message.timestamp, playing: message.isPlaying };
        return 'timeline';
    }
    return '';
  }

  #note(text) {
    this.#line({ text });
  }

  // The text begins with the name, which is kept beside it: who draws the line isolates its writing direction.
  #noteAbout(userId, does) {
    const name = this.name(userId);
    this.#line({ text: name + does, name });
  }

  #line(line) {
    this.lines.push(line);
    if (this.lines.length > LINES) this.lines.shift();
  }
}
