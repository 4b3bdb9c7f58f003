// Simulated time and a simulated player, for the tests of the client library.

import { Environment } from '../../../tandemd/web/client/index.js';

const STEP_MS = 10;

// Time that passes only in `pass`. environment: an Environment with this time.
export class SimulatedTime {
  now = 1000;
  #timers = new Map();
  #next = 1;
  #watchers = [];

  constructor(abilities = {}) {
    const add = (run, ms, every) => {
      this.#timers.set(this.#next, { run, due: this.now + Math.max(0, ms), every });
      return this.#next++;
    };
    const remove = (timer) => this.#timers.delete(timer);
    this.environment = new Environment({
      performance: { now: () => this.now },
      setTimeout: (run, ms) => add(run, ms, null),
      setInterval: (run, ms) => add(run, ms, ms),
      clearTimeout: remove,
      clearInterval: remove,
      ...abilities,
    });
  }

  get timers() {
    return this.#timers.size;
  }

  // Call step(ms) as time passes.
  watch(step) {
    this.#watchers.push(step);
  }

  async pass(ms) {
    for (const end = this.now + ms; this.now < end; ) {
      this.now += STEP_MS;
      for (const step of this.#watchers) step(STEP_MS);
      for (const [id, timer] of [...this.#timers].sort(([, a], [, b]) => a.due - b.due)) {
        if (timer.due > this.now || !this.#timers.has(id)) continue;
        if (timer.every === null) this.#timers.delete(id);
        else timer.due += timer.every;
        timer.run();
      }
      // Promises go on between two steps.
      await Promise.resolve();
      await Promise.resolve();
      await Promise.resolve();
    }
  }
}

/*
 * A media element. seekMs, startMs: how long a seek takes, and play() until it moves. live: whether the film goes on behind its
 * duration. exactRates: whether it plays at any rate; otherwise only at 1 and 2. rateStep: it rounds rates to multiples of this.
 */
export class SimulatedVideo extends EventTarget {
  paused = true;
  seeking = false;
  readyState = 4;
  duration = 5400;
  seeks = 0;
  // Seconds of film that it has played.
  played = 0;
  // When it has moved first after each play(), by the simulated time.
  moved = [];
  #position = 0;
  #rate = 1;
  #seekLeft = 0;
  #startLeft = 0;

  constructor(time, { seekMs = 100, startMs = 0, duration = 5400, live = false, exactRates = true, rateStep = 0 } = {}) {
    super();
    Object.assign(this, { seekMs, startMs, duration, live, exactRates, rateStep });
    time.watch((ms) => this.#pass(ms, time.now));
  }

  get currentTime() {
    return this.#position;
  }

  set currentTime(position) {
    this.seeks += 1;
    this.#position = position;
    this.#seekLeft = this.seekMs;
    this.seeking = this.seekMs > 0;
  }

  get playbackRate() {
    return this.#rate;
  }

  set playbackRate(rate) {
    const rounded = this.rateStep ? Math.round(rate / this.rateStep) * this.rateStep : rate;
    this.#rate = this.exactRates || rate === 2 ? rounded : 1;
  }

  get ended() {
    return !this.live && this.#position >= this.duration;
  }

  async play() {
    this.paused = false;
    this.#startLeft = this.startMs;
    this.moved.push(null);
    this.dispatchEvent(new Event('play'));
  }

  pause() {
    this.paused = true;
    this.dispatchEvent(new Event('pause'));
  }

  removeAttribute() {}

  load() {}

  #pass(ms, now) {
    if (this.live) this.duration += ms / 1000;
    if (this.seeking) {
      this.#seekLeft -= ms;
      this.seeking = this.#seekLeft > 0;
      if (!this.seeking) this.dispatchEvent(new Event('seeked'));
    } else if (!this.paused && this.#startLeft > 0) {
      this.#startLeft -= ms;
    } else if (!this.paused && this.readyState >= 3) {
      const before = this.#position;
      this.moved[this.moved.length - 1] ??= now - ms;
      this.#position = Math.min(this.live ? Infinity : this.duration, before + (ms / 1000) * this.#rate);
      this.played += this.#position - before;
      if (this.ended) this.paused = true;
    }
  }
}
