// A party: applies the room's messages to the player, and sends the person's acts to the room.

import { ServerClock } from './clock.js';
import { Connection } from './connection.js';
import { Emitter } from './emitter.js';
import { Environment } from './environment.js';
import { ProtocolError, TandemError } from './errors.js';
import { PlaybackController } from './playback.js';
import { Room } from './room.js';

export const PARTY_DEFAULTS = Object.freeze({
  // The player's position is told this often.
  tellEveryMs: 500,
  // Seeks that follow each other within this time are one.
  seekAfterMs: 200,
  // A seek waits for the others so long at most; the server's gate opens after 7 s.
  holdWithinMs: 8000,
  // How long a chat message may wait for its answer, over all connections.
  chatWithinMs: 60_000,
  // The name of members without one.
  nameless: 'Guest',
});

/*
 * Events: state(state, error) as of Connection; changed(what, message) with what `Room.apply` returns, or 'player' for the
 * player; message(message), every message, in order and once, except that relays may come twice; problem(error), a command of
 * the player that the room has rejected, or a ProtocolError.
 */
export class Party extends Emitter {
  clock;
  room;
  connection;
  // A PlaybackController, or null without `media`.
  player = null;
  #environment;
  #options;
  #member;
  #calls;
  #source;
  #pending = 0;
  // {playing}: what we have asked for and not been told yet.
  #wanted = null;
  #seeking = null;
  #seekTimer;
  // The callers of seek() that wait for it.
  #seekers = [];
  #holdTimer;
  #tellTimer;
  #fresh = true;
  #saidStatus = 'watching';

  /*
   * url: of the server's /ws. roomId, userId; username, pin, auth: as in JOIN, '' for none. media: see PlaybackController;
   * without it, the program follows `room.positionAt(clock.now())` by itself. source(url): returns the address of the file
   * that the player loads for a title, or null for none; null instead of a function leaves the loading to the program.
   * memory: the `memory` of an earlier run. calls: whether the program makes calls, see Call. environment: an Environment.
   * options: see PARTY_DEFAULTS and CONNECTION_DEFAULTS.
   */
  constructor({ url, roomId, userId, username, pin, auth, media, source, memory, calls, environment, options }) {
    super();
    this.#environment = environment ?? new Environment();
    this.#options = { ...PARTY_DEFAULTS, ...options };
    this.#member = { roomId, userId, username, pin, auth };
    this.#calls = calls;
    this.#source = source === undefined ? (title) => title || null : source;
    this.clock = new ServerClock(this.#environment);
    this.room = new Room(memory, this.#options.nameless);
    this.connection = new Connection({
      url,
      clock: this.clock,
      environment: this.#environment,
      join: () => this.#join(),
      token: memory?.token,
      options: this.#options,
    });
    this.connection.on('message', (message) => this.#received(message));
    this.connection.on('problem', (error) => this.emit('problem', error));
    if (media) this.#play(media);
    this.connection.on('state', (state, error) => {
      // A ROOM_STATE comes before the connection counts as connected, and what changed while it was lost is told then.
      if (state === 'connected' && this.player) this.#tellStatus();
      this.emit('state', state, error);
    });
  }

  #play(media) {
    this.player = new PlaybackController(media, { clock: this.clock, environment: this.#environment });
    for (const event of ['blocked', 'changed', 'failed']) this.player.on(event, () => this.emit('changed', 'player'));
    this.player.on('intent', (control) => this.intend(control));
    this.player.on('status', () => this.#tellStatus());
  }

  get me() {
    return this.#member.userId;
  }

  get host() {
    return this.room.hostId === this.me;
  }

  get mayControl() {
    return this.room.mayControl(this.me);
  }

  get pin() {
    return this.#member.pin ?? '';
  }

  // Whether the film plays, or is about to play when all members are ready.
  get playing() {
    return (this.#wanted ?? this.room.hold ?? this.room.timeline).playing;
  }

  // Whether a control of ours is on its way.
  get pending() {
    return this.#pending > 0;
  }

  // Where to show the film: a position just asked for, where the player is, or else where the room is.
  get position() {
    return this.#seeking ?? this.player?.position ?? this.room.positionAt(this.clock.now());
  }

  // What the next run of this program needs to be the same member and to miss nothing: plain data.
  get memory() {
    const { epoch, seq, lines } = this.room;
    return { token: this.connection.token, epoch, seq, lines };
  }

  // Connect, join, and stay until `leave` or `close`. See `Connection.joined` for how to wait.
  start() {
    this.#tellTimer ??= this.#environment.setInterval(() => this.#tell(), this.#options.tellEveryMs);
    this.connection.start();
  }

  joined(options) {
    return this.connection.joined(options);
  }

  // JOIN again with another name, PIN or token; undefined keeps it.
  retry({ username = this.#member.username, pin = this.#member.pin, auth = this.#member.auth } = {}) {
    Object.assign(this.#member, { username, pin, auth });
    this.connection.join();
  }

  // Leave the room for good.
  leave() {
    this.connection.leave();
    this.#end();
  }

  // End without leaving: the member stays in the room for its grace period.
  close() {
    this.connection.close();
    this.#end();
  }

  #end() {
    if (this.#seekers.length) this.#seekNow();
    for (const timer of [this.#seekTimer, this.#holdTimer]) this.#environment.clearTimeout(timer);
    this.#environment.clearInterval(this.#tellTimer);
    this.#tellTimer = undefined;
    this.player?.close();
  }

  // Another connection plays for this person: be quiet here.
  rest() {
    this.player?.follow({ position: this.player.position, at: 0, playing: false, rate: 1 });
  }

  // -- what the person does. The promises are those of Connection.command.

  // Play or pause, whichever the room does not do.
  toggle() {
    if (this.player?.blocked && this.playing) {
      // The film plays for all other members: this click is the one that the browser required.
      this.player.unblock();
      return Promise.resolve();
    }
    return this.control(this.playing ? 'pause' : 'play');
  }

  play() {
    return this.control('play');
  }

  pause() {
    return this.control('pause');
  }

  // control: 'play' or 'pause'.
  control(control) {
    const { player, room } = this;
    if (control === 'play' && player?.ended) return this.#seek(0, true);
    const known = room.hold ? room.hold.position : player?.loaded ? player.position : undefined;
    const message = { type: 'PLAY_PAUSE', control };
    if (known !== undefined) message.currentTime = known;
    const playing = control === 'play';
    // A guest without control waits for the answer: while the host is gone, every member may control. Where the server says when
    // all start, this player waits for it, too.
    const waits = known === undefined || (playing && this.#isRecent);
    const at = this.clock.now() + Math.min(this.clock.uncertainty, 500);
    const wanted = { position: known ?? 0, at, playing, rate: room.timeline.rate };
    return this.#command(message, waits ? null : wanted, playing);
  }

  // Seconds. Waits a moment for more of the same, because keys repeat: the promise is resolved with the ACK of the last.
  seek(position) {
    this.#seeking = position;
    this.#environment.clearTimeout(this.#seekTimer);
    this.#seekTimer = this.#environment.setTimeout(() => this.#seekNow(), this.#options.seekAfterMs);
    return new Promise((resolve) => this.#seekers.push(resolve));
  }

  #seekNow() {
    const answer = this.#seek(this.#seeking, this.playing);
    for (const resolve of this.#seekers) resolve(answer);
    this.#seekers = [];
  }

  // Choose a title.
  show(url) {
    return this.connection.command({ type: 'URL_CHANGE', url, seq: this.room.seq });
  }

  // 0.25 to 4, for the whole room.
  setRate(rate) {
    return this.connection.command({ type: 'SET_RATE', rate, seq: this.room.seq });
  }

  say(text) {
    return this.connection.command({ type: 'CHAT', text }, { withinMs: this.#options.chatWithinMs });
  }

  rename(username) {
    this.#member.username = username;
    return this.connection.command({ type: 'UPDATE_USERNAME', username });
  }

  // Carry out a control that came by a media key or the player's own menu.
  intend(control) {
    if (this.connection.state !== 'connected' || !this.mayControl) {
      this.#settle();
      this.emit('problem', new TandemError('forbidden', 'The host controls the film.'));
    } else if ((control === 'play') !== this.playing) {
      this.control(control).catch((error) => this.emit('problem', error));
    }
  }

  #seek(position, playing) {
    const wanted = { position, at: this.clock.now(), playing: false, rate: this.room.timeline.rate };
    return this.#command({ type: 'SEEK', currentTime: position, isPlaying: playing }, wanted, playing);
  }

  // Ask the room for something about the film. wanted: the timeline to show meanwhile, if we may have it; null for none.
  #command(message, wanted, playing) {
    this.#pending += 1;
    if (this.mayControl) {
      this.#wanted = { playing };
      if (wanted && this.player) {
        this.player.suspended = true;
        this.player.follow(wanted);
      }
    }
    const answer = this.connection.command({ ...message, seq: this.room.seq });
    const settled = () => {
      this.#pending -= 1;
      if (!this.#pending) this.#settle();
    };
    answer.then(settled, settled);
    this.emit('changed', 'timeline');
    return answer;
  }

  // Nothing of ours is on its way: the room's word counts.
  #settle() {
    const { hold, timeline } = this.room;
    this.#wanted = null;
    this.#seeking = null;
    if (this.player) {
      this.player.suspended = false;
      if (hold && !hold.begun) this.#hold();
      else if (!hold || hold.ready) this.player.follow(timeline);
    }
    this.emit('changed', 'timeline');
  }

  // -- what the room says

  #join() {
    this.room.expectState();
    const { roomId, userId, username, pin, auth } = this.#member;
    const join = { roomId, userId, resume: this.room.version, schedules: this.player ? true : undefined };
    if (this.#calls) join.calls = true;
    if (username) join.username = username;
    if (pin) join.pin = pin;
    if (auth) join.auth = auth;
    return join;
  }

  #received(message) {
    const { url } = this.room;
    let what;
    try {
      what = this.room.apply(message);
    } catch (error) {
      const problem = new ProtocolError(`${message.type} cannot be understood.`, { cause: error });
      this.emit('problem', error instanceof ProtocolError ? error : problem);
      return;
    }
    if (what === 'hole') this.connection.join();
    if (what === 'hole' || what === 'repeated') return;
    if (what === 'state') this.#entered(url);
    else if (what === 'title') this.#loadTitle();
    else if (what === 'hold') this.#hold();
    else if (what === 'timeline') this.#moved(message);
    this.clock.smooth = this.room.timeline.playing;
    this.emit('message', message);
    if (what) this.emit('changed', what, message);
  }

  #entered(url) {
    const { room, player } = this;
    if (player) player.sync = room.sync;
    // After a resume the server still has the last one.
    this.#saidStatus = room.statuses.get(this.me) ?? 'watching';
    if (this.#fresh || room.url !== url) this.#loadTitle();
    if (room.hold) this.#hold();
    else if (!this.#pending) this.#settle();
    if (player) this.#tellStatus();
    this.#fresh = false;
  }

  #loadTitle() {
    if (!this.player) return;
    if (this.#source) this.player.load(this.#source(this.room.url));
    this.player.follow(this.room.timeline);
  }

  #moved(message) {
    if (this.#pending || !this.player) return;
    if (message.type === 'HOST_HEARTBEAT') this.player.refine(this.room.timeline);
    else this.player.follow(this.room.timeline);
  }

  async #hold() {
    const { hold } = this.room;
    // A newer seek of ours is on its way, and this one is over when it arrives.
    if (this.#pending > 1) return;
    this.#seeking = null;
    hold.begun = true;
    this.#environment.clearTimeout(this.#holdTimer);
    this.#holdTimer = this.#environment.setTimeout(() => this.#over(hold), this.#options.holdWithinMs);
    if (!this.player) return;
    const ready = await this.player.hold(hold.position);
    hold.ready = true;
    if (!ready || this.room.hold !== hold) return;
    this.connection.send({ type: 'READY', targetTime: hold.position, seq: this.room.seq });
    // A paused room gets no message when all members are ready.
    if (hold.playing) this.emit('changed', 'hold');
    else this.#over(hold);
  }

  #over(hold) {
    if (this.room.hold !== hold) return;
    this.room.hold = null;
    this.emit('changed', 'hold');
  }

  // -- where my player is

  #tell() {
    const { player, room } = this;
    if (this.connection.state !== 'connected' || this.#pending || !player?.telling || !room.url) return;
    const report = { type: 'POSITION_UPDATE', currentTime: player.position, isPlaying: player.playing };
    if (this.clock.known) report.at = this.clock.now();
    if (player.ended) report.ended = true;
    if (player.duration) report.duration = player.duration;
    this.connection.send(report);
  }

  // Whether the server schedules starts and knows rates and statuses.
  get #isRecent() {
    return this.room.sync !== null;
  }

  #tellStatus() {
    const { status } = this.player;
    if (this.connection.state !== 'connected' || !this.#isRecent || status === this.#saidStatus) return;
    this.#saidStatus = status;
    this.connection.send({ type: 'STATUS', status });
  }
}
