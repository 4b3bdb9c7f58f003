// A model of a player. Its position is a formula of the time, so that a measurement does not depend on timers.

// By so much at most, the position that a program reads of a film that moves is old.
const READING_MS = 3;
// How much one start or seek differs from another of the same player.
const START_VARIES = 0.05;
const SEEK_VARIES = 0.2;
const RATE_STEP = 0.01;

export class SimulatedPlayer extends EventTarget {
  paused = true;
  duration = 5400;
  seeks = 0;
  // When it moves again after the last start, seek or stall.
  motionAt = 0;
  #time;
  #random;
  #spec;
  // The position at #from, from where on it moves unless it is paused. #from may be in the future.
  #position = 0;
  #from = 0;
  #rate = 1;
  #seekEnds = -Infinity;
  #stallEnds = -Infinity;
  #timer;

  // startMs, seekMs: from play() and from a seek to motion. ppm: by how much the clock of its sound runs too fast.
  constructor(time, random, { startMs, seekMs, ppm }) {
    super();
    this.#time = time;
    this.#random = random;
    this.#spec = { startMs, seekMs, speed: 1 + ppm / 1e6 };
  }

  // The true position at an instant of `time`, which must not be before the last call of another method.
  at(now) {
    const runs = this.paused || now < this.#from ? 0 : now - this.#from;
    return this.#position + (runs / 1000) * this.#rate * this.#spec.speed;
  }

  // Whether it shows a film that moves.
  moves(now) {
    return !this.paused && now >= this.#from;
  }

  get currentTime() {
    const now = this.#time.now();
    const error = this.moves(now) ? this.#random.between(0, READING_MS) : 0;
    return this.at(now) - error / 1000;
  }

  set currentTime(position) {
    const now = this.#time.now();
    const { seekMs } = this.#spec;
    this.seeks += 1;
    this.#position = position;
    this.#seekEnds = now + seekMs * this.#random.between(1 - SEEK_VARIES, 1 + SEEK_VARIES);
    this.#from = Math.max(this.#seekEnds, this.#stallEnds);
    this.motionAt = this.#from;
    this.#time.clearTimeout(this.#timer);
    this.#timer = this.#time.setTimeout(() => this.dispatchEvent(new Event('seeked')), this.#seekEnds - now);
  }

  get seeking() {
    return this.#time.now() < this.#seekEnds;
  }

  get ended() {
    return false;
  }

  get readyState() {
    const now = this.#time.now();
    return now < this.#seekEnds || now < this.#stallEnds ? 2 : 4;
  }

  get playbackRate() {
    return this.#rate;
  }

  set playbackRate(rate) {
    this.#rebase();
    this.#rate = Math.round(rate / RATE_STEP) * RATE_STEP;
  }

  async play() {
    if (!this.paused) return;
    const { startMs } = this.#spec;
    const start = this.#time.now() + startMs * this.#random.between(1 - START_VARIES, 1 + START_VARIES);
    this.#from = Math.max(start, this.#seekEnds, this.#stallEnds);
    this.motionAt = this.#from;
    this.paused = false;
    this.dispatchEvent(new Event('play'));
  }

  pause() {
    if (this.paused) return;
    this.#rebase();
    this.paused = true;
    this.dispatchEvent(new Event('pause'));
  }

  // The data that follow are missing for so long.
  stall(ms) {
    this.#rebase();
    this.#stallEnds = this.#time.now() + ms;
    this.#from = Math.max(this.#from, this.#stallEnds);
    this.motionAt = this.#from;
  }

  removeAttribute() {}

  load() {
    this.#position = 0;
    this.paused = true;
  }

  #rebase() {
    const now = this.#time.now();
    this.#position = this.at(now);
    this.#from = Math.max(this.#from, now);
  }
}
