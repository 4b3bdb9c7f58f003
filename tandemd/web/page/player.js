// The video: keeps it where the room's timeline is, and tells what the person did with it by other means than our
// buttons.

import { elapsedMs, isHidden } from './browser.js';

const TICK_MS = 250;
const JUMP = 0.5;
const STEER_FROM = 0.04;
const STEER_UNTIL = 0.012;
const STEER_PER_SECOND = 0.8;
const STEER_LIMIT = 0.1;
const JUMP_PAUSE_MS = 1500;
// After two jumps in vain: twice as long after each, at most the last of these.
const VAIN_PAUSE_MS = [6000, 12_000, 24_000, 30_000];
const READY_WITHIN_MS = 4000;
const LEAD_LIMIT = 6;
// Seconds: a player that is set to its very end has ended. This much before it, it plays on if more data comes.
const BEFORE_END = 0.25;

/*
 * now(): the server's clock in ms. events: intent(control) "play" or "pause" by media key or menu; blocked(yes) the
 * browser wants a click first; changed() anything to show; failed() the video cannot be played.
 * All positions are seconds.
 */
export class Player {
  // While our own command is on its way the room's timeline is older than what the person wants.
  suspended = false;
  blocked = false;
  failed = false;
  #video;
  #now;
  #events;
  #timeline = { position: 0, at: 0, playing: false };
  #wantsPlaying = false;
  #holding = null;
  #steering = false;
  #jumpedAt = -Infinity;
  #measureLead = false;
  #lead = 0;
  // Jumps since this player was last in step.
  #vain = 0;

  constructor(video, now, events) {
    this.#video = video;
    this.#now = now;
    this.#events = events;
    video.addEventListener('loadedmetadata', () => this.#align());
    video.addEventListener('error', () => {
      this.failed = Boolean(video.getAttribute('src'));
      if (this.failed) events.failed();
    });
    for (const type of ['play', 'pause']) video.addEventListener(type, () => this.#toggled());
    for (const type of ['durationchange', 'waiting', 'playing', 'seeked', 'volumechange']) {
      video.addEventListener(type, () => events.changed());
    }
    setInterval(() => this.#tick(), TICK_MS);
  }

  // Show a video file; null for none.
  load(url) {
    this.failed = false;
    this.#vain = 0;
    this.#holding = null;
    this.#wantsPlaying = false;
    if (url) {
      this.#video.src = url;
    } else {
      this.#video.removeAttribute('src');
    }
    this.#video.load();
  }

  get loaded() {
    return this.#video.readyState >= HTMLMediaElement.HAVE_METADATA && !this.failed;
  }

  get position() {
    return this.#video.currentTime;
  }

  get duration() {
    return Number.isFinite(this.#video.duration) ? this.#video.duration : 0;
  }

  // Whether the film is over here. The duration does not say so: that of a live stream grows.
  get ended() {
    return this.#video.ended;
  }

  get playing() {
    return !this.#video.paused;
  }

  get stalled() {
    return this.#wantsPlaying && this.loaded && this.#video.readyState < HTMLMediaElement.HAVE_FUTURE_DATA;
  }

  // Seconds that this player is ahead of the room (negative: behind); null while there is nothing to compare.
  get drift() {
    return this.loaded && !this.#video.seeking ? this.position - this.#target() : null;
  }

  // Whether what this player shows says something about where the person watches.
  get telling() {
    return this.loaded && !this.blocked && this.#holding === null && !this.#video.seeking;
  }

  // Go where the timeline is, and stay with it.
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

  // Pause at a position. The promise is resolved when the film could go on from there: true, or false if something else
  // has come in between.
  async hold(position) {
    const holding = { position };
    this.#holding = holding;
    this.#timeline = { position, at: 0, playing: false };
    this.#align();
    const began = elapsedMs();
    const there = () => this.loaded && !this.#video.seeking;
    const enough = () => this.#video.readyState >= HTMLMediaElement.HAVE_FUTURE_DATA || position >= this.duration - 0.1;
    // Events would be quicker by some ms, and there are a dozen ways in which one of them does not come.
    while (!(there() && enough()) && elapsedMs() - began < READY_WITHIN_MS) {
      await new Promise((resolve) => setTimeout(resolve, 20));
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

  #target() {
    const { position, at, playing } = this.#timeline;
    const now = playing ? position + Math.max(0, this.#now() - at) / 1000 : position;
    return this.duration ? Math.min(now, this.duration) : now;
  }

  #align() {
    this.#steer(1);
    if (!this.loaded) return;
    const target = this.#target();
    if (this.#timeline.playing && !this.#atEnd()) {
      if (Math.abs(this.position - target) > JUMP) this.#jump(target + this.#lead, true);
      this.#play();
    } else {
      this.#pause();
      if (Math.abs(this.position - target) > 0.001) this.#jump(target, false);
    }
    this.#events.changed();
  }

  #jump(position, moving) {
    const last = moving ? this.duration - BEFORE_END : this.duration;
    this.#video.currentTime = this.duration ? Math.max(0, Math.min(position, last)) : position;
    this.#jumpedAt = elapsedMs();
    this.#measureLead = moving;
  }

  #play() {
    this.#wantsPlaying = true;
    if (!this.#video.paused || this.blocked) return;
    this.#video.play().catch((error) => {
      if (error.name === 'NotAllowedError') this.#setBlocked(true);
    });
  }

  #pause() {
    this.#wantsPlaying = false;
    if (!this.#video.paused) this.#video.pause();
  }

  #setBlocked(blocked) {
    if (this.blocked === blocked) return;
    this.blocked = blocked;
    this.#events.blocked(blocked);
  }

  #toggled() {
    this.#events.changed();
    if (this.#video.paused === !this.#wantsPlaying || !this.loaded || this.#video.ended) return;
    // Browsers pause what is in the background by themselves; that is not a wish of the person.
    if (isHidden() || this.failed) return;
    if (this.#video.paused) {
      if (!this.blocked) this.#events.intent('pause');
    } else {
      this.#setBlocked(false);
      this.#events.intent('play');
    }
  }

  #tick() {
    if (!this.loaded || this.#video.seeking || this.suspended || this.#holding) return;
    const drift = this.position - this.#target();
    const playing = this.#timeline.playing && !this.#atEnd();
    if (playing && this.#video.paused && !this.blocked) {
      this.#align();
    } else if (!playing) {
      this.#steer(1);
      this.#pause();
      const may = elapsedMs() - this.#jumpedAt > JUMP_PAUSE_MS;
      if (may && Math.abs(drift) > 0.02) this.#jump(this.#target(), false);
    } else if (!this.#video.paused) {
      this.#approach(drift);
    }
  }

  #atEnd() {
    return this.ended && this.#target() >= this.position - BEFORE_END;
  }

  #approach(drift) {
    const since = elapsedMs() - this.#jumpedAt;
    if (this.#measureLead && since > 600 && !this.stalled) {
      // A jump takes its time: next time, aim so far ahead.
      this.#measureLead = false;
      this.#lead = Math.min(LEAD_LIMIT, Math.max(0, this.#lead - drift));
      // The pause after a jump in vain begins when it is over.
      if (this.#vain > 1) this.#jumpedAt = elapsedMs();
    }
    if (Math.abs(drift) <= JUMP) {
      this.#vain = 0;
    } else if (this.#mayJump(since)) {
      this.#vain += 1;
      this.#jump(this.#target() + this.#lead, true);
      return;
    }
    this.#steering = Math.abs(drift) > (this.#steering ? STEER_UNTIL : STEER_FROM);
    const turn = Math.max(-STEER_LIMIT, Math.min(STEER_LIMIT, -drift * STEER_PER_SECOND));
    this.#steer(this.#steering ? 1 + turn : 1);
  }

  // Not before the cost of the last jump is known, and after two in vain only now and then: a player that needs longer
  // for a jump than it gains would never play.
  #mayJump(since) {
    if ((this.#measureLead || this.stalled) && since < VAIN_PAUSE_MS.at(-1)) return false;
    if (this.#vain < 2) return since > JUMP_PAUSE_MS;
    return since > VAIN_PAUSE_MS[Math.min(this.#vain - 2, VAIN_PAUSE_MS.length - 1)];
  }

  #steer(rate) {
    if (rate === 1) this.#steering = false;
    if (this.#video.playbackRate !== rate) this.#video.playbackRate = rate;
  }
}
