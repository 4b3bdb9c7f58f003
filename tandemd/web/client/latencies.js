// How long a player takes for a seek, and from play() to motion.

// Until the first measurement.
const FIRST_SEEK_MS = 80;
const FIRST_START_MS = 60;
const SEEK_LIMIT_MS = 10_000;
const START_LIMIT_MS = 2000;
// Seconds of film after which a start is measured.
const START_MOVED = 0.05;
const START_SAMPLES = 5;
const POLL_MS = 20;
const HAVE_FUTURE_DATA = 3;

export class Latencies {
  seekMs = FIRST_SEEK_MS;
  #media;
  #environment;
  #seekBegan = null;
  #starts = [];
  #timer;

  constructor(media, environment) {
    this.#media = media;
    this.#environment = environment;
  }

  // The median of the last starts.
  get startMs() {
    const sorted = [...this.#starts].sort((a, b) => a - b);
    return sorted[Math.floor(sorted.length / 2)] ?? FIRST_START_MS;
  }

  close() {
    this.#environment.clearTimeout(this.#timer);
  }

  seekBegins() {
    this.#seekBegan = this.#environment.elapsedMs();
  }

  forgetSeek() {
    this.#seekBegan = null;
  }

  // To be called when a seek may be over.
  noteSeek() {
    if (this.#seekBegan === null || this.#media.seeking) return;
    const took = Math.min(SEEK_LIMIT_MS, this.#environment.elapsedMs() - this.#seekBegan);
    this.#seekBegan = null;
    // Long seeks count at once, because a start that waits for one in vain is late.
    this.seekMs = took > this.seekMs ? took : (took + this.seekMs) / 2;
  }

  // play() is called now.
  startBegins() {
    this.#environment.clearTimeout(this.#timer);
    const [began, position] = [this.#environment.elapsedMs(), this.#media.currentTime];
    const look = () => {
      const { currentTime, paused, playbackRate, readyState, seeking } = this.#media;
      const passed = this.#environment.elapsedMs() - began;
      const moved = currentTime - position;
      // A seek or a stall in between would be measured too.
      if (paused || seeking || readyState < HAVE_FUTURE_DATA || moved < 0 || passed > START_LIMIT_MS) return;
      if (moved < START_MOVED) this.#timer = this.#environment.setTimeout(look, POLL_MS);
      else this.#note(passed - (moved * 1000) / (playbackRate || 1));
    };
    this.#timer = this.#environment.setTimeout(look, POLL_MS);
  }

  #note(took) {
    // It has moved further than it can have played: a seek has come in between.
    if (took < -POLL_MS) return;
    this.#starts = [...this.#starts, Math.max(0, took)].slice(-START_SAMPLES);
  }
}
