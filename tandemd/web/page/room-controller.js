// A party: the room's messages move the player, and what the person does goes to the room.

import { onMediaKeys } from './browser.js';
import { ServerClock } from './clock.js';
import { Connection } from './connection.js';
import { Hosting } from './host-actions.js';
import { Player } from './player.js';
import { Room } from './room-state.js';
import { webAddress } from './text.js';
import { serverUrl } from './server-url.js';

// Stands for the clip of whatever server the page came from.
export const CLIP = 'https://tandemd.invalid/clip';
const CLIP_FILE = serverUrl('page/clip.mp4');

const TELL_MS = 500;
// The server's gate opens after 7 s whatever happens.
const HOLD_LIMIT_MS = 8000;
const CHAT_LIFE_MS = 60_000;
const COMMAND_PROBLEMS = {
  forbidden: 'The host controls the film.',
  stale: 'Another member has chosen a new title meanwhile.',
};

/*
 * options: {roomId, pin, name, url}; url: the title for a room that this page creates, '' for none.
 * events: state(connectionState, error), changed(what) with what Room.apply says, problem(text, code), blocked().
 */
export class Party {
  clock = new ServerClock();
  #identity;
  #options;
  #events;
  #pending = 0;
  // {playing}: what we have asked for and not been told yet.
  #wanted = null;
  #seeking = null;
  #seekTimer = 0;
  #fresh = true;

  constructor(video, identity, options, events) {
    this.#identity = identity;
    this.#options = options;
    this.#events = events;
    const memory = identity.recall(options.roomId);
    this.#options.pin ||= memory.pin ?? '';
    this.token = memory.token ?? '';
    this.room = new Room(memory);
    this.player = new Player(video, () => this.clock.now(), {
      intent: (control) => this.#intended(control),
      blocked: () => events.changed('player'),
      changed: () => events.changed('player'),
      failed: () => events.changed('player'),
    });
    this.connection = new Connection({
      url: serverUrl('ws').replace(/^http/, 'ws'),
      clock: this.clock,
      join: () => this.#join(),
      changed: (state, error) => events.state(state, error),
      received: (message) => this.#received(message),
    });
    this.hosting = new Hosting(this.connection, events.problem);
    setInterval(() => this.#tell(), TELL_MS);
    onMediaKeys({ play: () => this.#intended('play'), pause: () => this.#intended('pause') });
  }

  get me() {
    return this.#identity.userId;
  }

  get ticket() {
    return this.#identity.ticket;
  }

  get host() {
    return this.room.hostId === this.me;
  }

  get mayControl() {
    return this.room.mayControl(this.me);
  }

  get pin() {
    return this.#options.pin;
  }

  // Whether the film plays, or is about to play when all members are ready.
  get playing() {
    return (this.#wanted ?? this.room.hold ?? this.room.timeline).playing;
  }

  // Where to show the film: a position just asked for, or where the player is.
  get position() {
    return this.#seeking ?? this.player.position;
  }

  start() {
    this.connection.start();
  }

  retry(name, pin) {
    this.#options.name = name;
    this.#options.pin = pin;
    this.connection.join();
  }

  // Another tab plays for this person: be quiet here.
  rest() {
    this.player.follow({ position: this.player.position, at: 0, playing: false });
  }

  leave() {
    this.#identity.forgetRoom();
    this.connection.stop();
    this.player.load(null);
  }

  // -- what the person does

  toggle() {
    if (this.player.blocked && this.playing) {
      // The film plays for all other members: this click is the one that the browser required.
      this.player.unblock();
      return;
    }
    this.control(this.playing ? 'pause' : 'play');
  }

  control(control) {
    const { player, room } = this;
    if (control === 'play' && player.ended) {
      this.#seek(0, true);
      return;
    }
    const position = room.hold ? room.hold.position : player.loaded ? player.position : undefined;
    // A guest without control waits for the answer: while the host is gone, every member may control.
    const timeline = { position: position ?? 0, at: this.clock.now(), playing: control === 'play' };
    this.#command({ type: 'PLAY_PAUSE', control, currentTime: position }, position === undefined ? null : timeline);
  }

  // Seconds. Waits a moment for more of the same: keys repeat.
  seek(position) {
    this.#seeking = position;
    clearTimeout(this.#seekTimer);
    this.#seekTimer = setTimeout(() => this.#seek(position, this.playing), 200);
  }

  show(url) {
    return this.connection.command({ type: 'URL_CHANGE', url, seq: this.room.seq });
  }

  say(text) {
    return this.connection.command({ type: 'CHAT', text }, CHAT_LIFE_MS);
  }

  rename(name) {
    this.#options.name = name;
    return this.connection.command({ type: 'UPDATE_USERNAME', username: name });
  }

  #intended(control) {
    if (this.connection.state !== 'connected' || !this.mayControl) {
      this.#settle();
      this.#events.problem('The host controls the film.', 'forbidden');
    } else if ((control === 'play') !== this.playing) {
      this.control(control);
    }
  }

  #seek(position, playing) {
    const timeline = { position, at: this.clock.now(), playing: false };
    this.#command({ type: 'SEEK', currentTime: position, isPlaying: playing }, timeline, playing);
  }

  // Ask the room for something about the film. wanted: the timeline to show meanwhile, if we may have it.
  #command(message, wanted, playing = wanted?.playing) {
    this.#pending += 1;
    if (wanted && this.mayControl) {
      this.#wanted = { playing };
      this.player.suspended = true;
      this.player.follow(wanted);
    }
    this.connection
      .command({ ...message, seq: this.room.seq })
      .catch((error) => this.#events.problem(COMMAND_PROBLEMS[error.code] ?? error.message, error.code))
      .finally(() => {
        this.#pending -= 1;
        if (!this.#pending) this.#settle();
      });
    this.#events.changed('timeline');
  }

  // Nothing of ours is on its way: the room's word counts.
  #settle() {
    this.#wanted = null;
    this.#seeking = null;
    this.player.suspended = false;
    const { hold } = this.room;
    if (hold && !hold.begun) this.#hold();
    else if (!hold || hold.ready) this.player.follow(this.room.timeline);
    this.#events.changed('timeline');
  }

  // -- what the room says

  #join() {
    this.room.expectState();
    const { roomId, name, pin } = this.#options;
    const join = { roomId, userId: this.me };
    if (name) join.username = name;
    if (pin) join.pin = pin;
    if (this.ticket) join.auth = this.ticket.token;
    if (this.token) {
      join.token = this.token;
      if (this.room.epoch) join.resume = { epoch: this.room.epoch, seq: this.room.seq };
    }
    return join;
  }

  #received(message) {
    const { url } = this.room;
    const what = this.room.apply(message);
    if (what === 'hole') {
      this.connection.join();
      return;
    }
    if (what === 'state') this.#entered(message, url);
    else if (what === 'title') this.#loadTitle();
    else if (what === 'hold') this.#hold();
    else if (what === 'timeline') this.#moved(message);
    if (!what) return;
    this.#remember();
    this.#events.changed(what);
  }

  #entered(state, url) {
    if (state.token) this.token = state.token;
    const { room } = this;
    if (this.#fresh || room.url !== url) this.#loadTitle();
    if (room.hold) this.#hold();
    else if (!this.#pending) this.#settle();
    if (this.#fresh && this.#options.url && !room.url && this.host) {
      this.show(this.#options.url).catch((error) => this.#events.problem(error.message, error.code));
    }
    this.#fresh = false;
  }

  #loadTitle() {
    const { url } = this.room;
    this.player.load(url === CLIP ? CLIP_FILE : webAddress(url) || null);
    this.player.follow(this.room.timeline);
  }

  #moved(message) {
    if (this.#pending) return;
    if (message.type === 'HOST_HEARTBEAT') this.player.refine(this.room.timeline);
    else this.player.follow(this.room.timeline);
  }

  async #hold() {
    const { hold } = this.room;
    // A newer seek of ours is on its way, and this one is over when it arrives.
    if (this.#pending > 1) return;
    this.#seeking = null;
    hold.begun = true;
    setTimeout(() => this.#over(hold), HOLD_LIMIT_MS);
    const ready = await this.player.hold(hold.position);
    hold.ready = true;
    if (!ready || this.room.hold !== hold) return;
    this.connection.send({ type: 'READY', targetTime: hold.position, seq: this.room.seq });
    // A paused room gets no message when all members are ready.
    if (hold.playing) this.#events.changed('hold');
    else this.#over(hold);
  }

  #over(hold) {
    if (this.room.hold !== hold) return;
    this.room.hold = null;
    this.#events.changed('hold');
  }

  // -- where my player is

  #tell() {
    const { player, room } = this;
    if (this.connection.state !== 'connected' || this.#pending || !player.telling || !room.url) return;
    const report = { type: 'POSITION_UPDATE', currentTime: player.position, isPlaying: player.playing };
    if (player.ended) report.ended = true;
    if (player.duration) report.duration = player.duration;
    this.connection.send(report);
  }

  #remember() {
    const { room } = this;
    this.#identity.remember(this.#options.roomId, {
      token: this.token,
      pin: this.#options.pin,
      epoch: room.epoch,
      seq: room.seq,
      lines: room.lines,
    });
  }
}
