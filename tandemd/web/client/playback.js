// The player: keeps it where the room's timeline is, and tells what the person did with it by other means than the
// program's buttons.

import { Corrections, SYNC_DEFAULTS } from './corrections.js';
import { Emitter } from './emitter.js';
import { Latencies } from './latencies.js';
import { positionAt } from './room.js';
import { ViewerStatus } from './viewer-status.js';

const TICK_MS = 250;
// After a start, the player is looked at more often.
const SETTLING_MS = 2000;
const SETTLING_TICK_MS = 80;
const READY_WITHIN_MS = 4000;
// Seconds: a player that is set to its very end has ended. This much before it, it plays on if more data comes.
const BEFORE_END = 0.25;
const POLL_MS = 20;
// The rates of players may have steps of this size.
const RATE_STEP = 0.02;

// Seconds: a start that would be off by more is corrected by a seek before it, where seeks are quick.
const START_EXACT = 0.08;
const QUICK_SEEK_MS = 250;
const MAX_START_SEEKS = 2;

const HAVE_METADATA = 1;
const HAVE_FUTURE_DATA = 3;

/*
 * media: an HTMLMediaElement, or an object with the same currentTime, duration, paused, ended, seeking, readyState,
 * playbackRate, play(), pause(), addEventListener() and removeEventListener(); with src and load() if `load` is used.
 * All positions are seconds.
 *
 * Events: intent("play" or "pause"), by media key or menu; blocked(yes), the browser wants a click first; failed(), the media
 * cannot be played; status("watching", "buffering" or "away"); changed(), anything to show.
 */
export class PlaybackController extends Emitter {
  // While our own command is on its way the room's timeline is older than what the person wants.
  suspended = false;
  blocked = false;
  failed = false;
  #media;
  #clock;
  #environment;
  #timeline = { position: 0, at: 0, playing: false, rate: 1 };
  #wantsPlaying = false;
  #holding = null;
  #empty = false;
  #steerable = true;
  // The start that is waited for: {seeks, timer}; null for none.
  #starting = null;
  #startedAt = -Infinity;
  #latencies;
  #corrections;
  #status;
  #timer;
  #ends = [];

  // clock: a ServerClock, or {now()} with the server's time in ms.
  constructor(media, { clock, environment }) {
    super();
    this.#media = media;
    this.#clock = clock;
    this.#environment = environment;
    this.#latencies = new Latencies(media, environment);
    this.#corrections = new Corrections(environment);
    this.#status = new ViewerStatus(environment);
    this.#listen('loadedmetadata', () => this.#align());
    this.#listen('seeked', () => this.#latencies.noteSeek());
    this.#listen('error', () => {
      this.failed = !this.#empty;
      if (this.failed) this.emit('failed');
    });
    for (const type of ['play', 'pause']) this.#listen(type, () => this.#toggled());
    for (const type of ['durationchange', 'waiting', 'playing', 'seeked', 'volumechange']) {
      this.#listen(type, () => this.emit('changed'));
    }
    this.#schedule();
  }

  // Let go of the media element, which stays as it is.
  close() {
    this.#environment.clearTimeout(this.#timer);
    this.#latencies.close();
    this.#cancelStart();
    this.#holding = null;
    for (const end of this.#ends) end();
  }

  // Show a media file; null for none.
  load(url) {
    this.failed = false;
    this.#corrections.forget();
    this.#holding = null;
    this.#wantsPlaying = false;
    this.#cancelStart();
    this.#latencies.forgetSeek();
    this.#empty = !url;
    if (url) {
      this.#media.src = url;
    } else {
      this.#media.removeAttribute('src');
    }
    this.#media.load();
  }

  get loaded() {
    return this.#media.readyState >= HAVE_METADATA && !this.failed;
  }

  get position() {
    return this.#media.currentTime;
  }

  // 0 while it is unknown.
  get duration() {
    return Number.isFinite(this.#media.duration) ? this.#media.duration : 0;
  }

  // Whether the film is over here. The duration does not say so: that of a live stream grows.
  get ended() {
    return this.#media.ended;
  }

  // Whether it plays, or starts within a moment.
  get playing() {
    return !this.#media.paused || this.#starting !== null;
  }

  // 'watching', 'buffering', or 'away'.
  get status() {
    return this.#status.value;
  }

  get stalled() {
    return this.#wantsPlaying && this.loaded && this.#media.readyState < HAVE_FUTURE_DATA;
  }

  // Seconds that this player is ahead of the room (negative: behind); null while there is nothing to compare.
  get drift() {
    return this.loaded && !this.#media.seeking ? this.position - this.#target() : null;
  }

  // Whether what this player shows says something about where the person watches.
  get telling() {
    return this.loaded && !this.blocked && this.#holding === null && !this.#media.seeking;
  }

  // How long this player takes from play() to motion, in ms, as measured.
  get startMs() {
    return this.#latencies.startMs;
  }

  // The rate at which it plays, steering included.
  get rate() {
    return this.#media.playbackRate;
  }

  // Whether the player can play a little faster or slower. If not, it is left alone below `jump`.
  get steerable() {
    return this.#steerable;
  }

  // Take the room's policy, see SYNC_DEFAULTS. null: the defaults.
  set sync(policy) {
    this.#corrections.policy = { ...SYNC_DEFAULTS, ...policy };
  }

  // Go where the timeline is, and stay with it. It may begin in the future.
  follow(timeline) {
    this.#timeline = timeline;
    this.#holding = null;
    this.#align();
  }

  // Take a newer word of the same timeline, without hurry: small differences are steered out.
  refine(timeline) {
    if (timeline.playing !== this.#timeline.playing) this.follow(timeline);
    else this.#timeline = timeline;
  }

  // Pause at a position. The promise is resolved when the film could go on from there, or after 4 s: true, or false if
  // something else has come in between.
  async hold(position) {
    const holding = { position };
    this.#holding = holding;
    this.#timeline = { ...this.#timeline, position, at: 0, playing: false };
    this.#align();
    const began = this.#environment.elapsedMs();
    const there = () => this.loaded && !this.#media.seeking;
    const enough = () => this.#media.readyState >= HAVE_FUTURE_DATA || position >= this.duration - 0.1;
    // Events would be quicker by some ms, and there are a dozen ways in which one of them does not come.
    while (!(there() && enough()) && this.#environment.elapsedMs() - began < READY_WITHIN_MS) {
      await new Promise((resolve) => this.#environment.setTimeout(resolve, POLL_MS));
      if (this.#holding !== holding) return false;
    }
    if (this.#holding !== holding) return false;
    this.#holding = null;
    return true;
  }

  // After a click, when the browser lets us play.
  unblock() {
    this.#setBlocked(false);
    this.#align();
  }

  #listen(type, listener) {
    this.#media.addEventListener(type, listener);
    this.#ends.push(() => this.#media.removeEventListener(type, listener));
  }

  #target(now = this.#clock.now()) {
    const position = positionAt(this.#timeline, now);
    return this.duration ? Math.min(position, this.duration) : position;
  }

  #align() {
    this.#cancelStart();
    this.#steer(1);
    if (!this.loaded) return;
    const target = this.#target();
    if (this.#timeline.playing && !this.#atEnd()) {
      const early = this.#timeline.at - this.#clock.now() > this.startMs;
      if (!this.#media.paused && early) this.#pause();
      if (this.#media.paused) this.#start();
      else if (Math.abs(this.position - target) > this.#corrections.policy.jump) {
        this.#jump(target + this.#corrections.lead, true);
      }
      this.#wantsPlaying = true;
    } else {
      // A player that has just been paused may go on a little behind the position that it tells.
      const stops = this.#pause();
      if (stops || Math.abs(this.position - target) > 0.001) this.#jump(target, false);
    }
    this.emit('changed');
  }

  #jump(position, moving) {
    const last = moving ? this.duration - BEFORE_END : this.duration;
    this.#media.currentTime = this.duration ? Math.max(0, Math.min(position, last)) : position;
    this.#corrections.jumped(moving);
    this.#latencies.seekBegins();
  }

  // -- starts

  // Start the paused player so that it moves when the timeline does, or else as soon as it can, where the room is by then.
  #start(seeks = 0) {
    this.#wantsPlaying = true;
    if (this.blocked) return;
    const soonest = this.#clock.now() + this.startMs;
    let moves = Math.max(this.#timeline.at, soonest);
    const gap = Math.abs(this.#target(moves) - this.position);
    const { jump } = this.#corrections.policy;
    if (this.#environment.isHidden()) {
      // The timers of a hidden page are late by up to a second.
      if (gap > jump) this.#jump(this.#target(soonest + this.#latencies.seekMs), false);
      this.#play();
      return;
    }
    const seek = seeks < MAX_START_SEEKS && (gap > jump || (gap > START_EXACT && this.#latencies.seekMs <= QUICK_SEEK_MS));
    if (seek) {
      moves = Math.max(moves, soonest + this.#latencies.seekMs);
      this.#jump(Math.min(this.#target(moves), this.duration ? this.duration - BEFORE_END : Infinity), false);
    }
    const starting = { seeks: seeks + (seek ? 1 : 0), timer: undefined };
    this.#starting = starting;
    this.#waitForStart(moves - this.startMs, starting);
  }

  #waitForStart(at, starting) {
    const wait = at - this.#clock.now();
    const go = () => {
      if (this.#starting !== starting) return;
      this.#latencies.noteSeek();
      this.#starting = null;
      if (!this.#media.seeking) {
        // The timer may be late, or the seek was.
        const late = this.#clock.now() - at > 1000 * START_EXACT;
        if (late) this.#corrections.failed();
        if (late && starting.seeks < MAX_START_SEEKS) this.#start(starting.seeks);
        else this.#play();
        return;
      }
      this.#starting = starting;
      starting.timer = this.#environment.setTimeout(go, POLL_MS);
    };
    if (wait <= 0 && !this.#media.seeking) {
      this.#starting = null;
      this.#play();
    } else {
      starting.timer = this.#environment.setTimeout(go, Math.max(0, wait));
    }
  }

  #cancelStart() {
    this.#environment.clearTimeout(this.#starting?.timer);
    this.#starting = null;
  }

  #play() {
    this.#wantsPlaying = true;
    if (!this.#media.paused || this.blocked) return;
    this.#startedAt = this.#environment.elapsedMs();
    this.#latencies.startBegins();
    Promise.resolve(this.#media.play()).catch((error) => {
      if (error?.name === 'NotAllowedError') this.#setBlocked(true);
    });
    this.#schedule();
  }

  // Return whether it played.
  #pause() {
    this.#wantsPlaying = false;
    this.#cancelStart();
    const playing = !this.#media.paused;
    if (playing) this.#media.pause();
    return playing;
  }

  #setBlocked(blocked) {
    if (this.blocked === blocked) return;
    this.blocked = blocked;
    this.emit('blocked', blocked);
  }

  #toggled() {
    this.emit('changed');
    if (this.#media.paused === !this.#wantsPlaying || !this.loaded || this.#media.ended || this.#starting) return;
    // Browsers pause what is in the background by themselves; that is not a wish of the person.
    if (this.#environment.isHidden() || this.failed) return;
    if (this.#media.paused) {
      if (!this.blocked) this.emit('intent', 'pause');
    } else {
      this.#setBlocked(false);
      this.emit('intent', 'play');
    }
  }

  // -- staying in step

  #settling() {
    return this.#environment.elapsedMs() - this.#startedAt < SETTLING_MS;
  }

  #schedule() {
    this.#environment.clearTimeout(this.#timer);
    const next = () => {
      this.#timer = this.#environment.setTimeout(next, this.#settling() ? SETTLING_TICK_MS : TICK_MS);
      this.#tick();
    };
    this.#timer = this.#environment.setTimeout(next, this.#settling() ? SETTLING_TICK_MS : TICK_MS);
  }

  #tick() {
    this.#latencies.noteSeek();
    const unable = this.failed || this.blocked;
    if (this.#status.update({ stalled: this.stalled, unable })) this.emit('status', this.status);
    if (!this.loaded || this.#media.seeking || this.suspended || this.#holding || this.#starting) return;
    const drift = this.position - this.#target();
    const playing = this.#timeline.playing && !this.#atEnd();
    if (playing && this.#media.paused && !this.blocked) {
      this.#align();
    } else if (!playing) {
      this.#steer(1);
      this.#pause();
      if (this.#corrections.rested && Math.abs(drift) > 0.02) this.#jump(this.#target(), false);
    } else if (!this.#media.paused && this.#clock.now() >= this.#timeline.at) {
      const share = this.#corrections.decide(drift, { stalled: this.stalled, settling: this.#settling() });
      if (share === null) this.#jump(this.#target() + this.#corrections.lead, true);
      else this.#steer(this.#steerable ? share : 1);
    }
  }

  #atEnd() {
    return this.ended && this.#target() >= this.position - BEFORE_END;
  }

  // Play at a share of the room's rate.
  #steer(share) {
    if (share === 1) this.#corrections.steadied();
    const rate = (this.#timeline.rate ?? 1) * share;
    if (this.#media.playbackRate === rate) return;
    try {
      this.#media.playbackRate = rate;
      // A player that takes rates in steps may round a small difference away.
      if (Math.abs(share - 1) > RATE_STEP) this.#steerable = this.#media.playbackRate !== this.#timeline.rate;
    } catch {
      // This player cannot play at that rate.
      this.#steerable = false;
    }
  }
}
