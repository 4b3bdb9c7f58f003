// The estimate of the server's clock, by the time that has passed here. The clock of this computer may be wrong or be
// set, so it is not used.

const KEPT = 60;
const FRESH_MS = 4 * 60_000;
// A larger difference is a step of one of the clocks, not a better estimate.
const STEP_MS = 200;
const SLEW_MS_PER_MS = 0.005;
// The first samples of a connection may move the estimate at once: the player is not in step yet.
const SETTLING_SAMPLES = 6;
// The clocks of two computers drift apart. The drift is measured over this time, and is no more than this.
const SKEW_AFTER_MS = 60_000;
const MAX_SKEW = 0.0005;
const SKEW_STEP = 1e-6;
// Since it is not known exactly, an old sample is worth less than its short trip says.
const AGING = 0.0001;
const AGING_WITH_SKEW = 0.00003;

export class ServerClock {
  // Whether the estimate moves slowly, because a player follows it. Otherwise each better sample counts at once.
  smooth = false;
  #environment;
  #samples = [];
  #settling = SETTLING_SAMPLES;
  #known = false;
  // The estimate now, and the time of its last move.
  #offset = 0;
  #movedAt = 0;
  // The better one that it moves to: the sample's offset then, and ms per ms that it grows since.
  #best = { offset: 0, at: 0 };
  #skew = 0;

  constructor(environment) {
    this.#environment = environment;
  }

  // Whether the server has told its time.
  get known() {
    return this.#known;
  }

  // Milliseconds since 1970 on the server's clock; before it is known, milliseconds from an arbitrary start.
  now() {
    return this.at(this.#environment.elapsedMs());
  }

  // The same at a moment of environment.elapsedMs() that has just passed, or comes soon.
  at(elapsed) {
    const most = Math.max(0, elapsed - this.#movedAt) * SLEW_MS_PER_MS;
    this.#offset += Math.max(-most, Math.min(most, this.#project(this.#best, elapsed) - this.#offset));
    this.#movedAt = Math.max(elapsed, this.#movedAt);
    return elapsed + this.#offset;
  }

  // Half of the shortest known round trip, in ms: the estimate is wrong by this much at most. Infinity before a round trip.
  get uncertainty() {
    return this.#samples.length ? Math.min(...this.#samples.map(({ trip }) => trip)) / 2 : Infinity;
  }

  // A message has just come that says what time it is there; it was some time on its way. Good enough until a round
  // trip is known.
  hint(serverTime) {
    if (!this.#samples.length) this.#hinted(serverTime - this.#environment.elapsedMs());
  }

  /*
   * A round trip of PING and PONG. began, ended: when PING was sent and PONG came, by environment.elapsedMs(). received,
   * sent: when the server received PING and sent PONG, on its clock.
   */
  sample({ began, ended, received, sent }) {
    const last = {
      trip: Math.max(0, ended - began - (sent - received)),
      at: ended,
      offset: (received - began + (sent - ended)) / 2,
    };
    // Each is wrong by half of its trip at most. Those that contradict the last are old: the server's clock runs a little
    // faster or slower while it follows one that was set, or this computer has slept.
    const agrees = (one) => Math.abs(one.offset - last.offset) <= (one.trip + last.trip) / 2 + 1;
    const fresh = this.#samples.filter((one) => ended - one.at < FRESH_MS && agrees(one));
    this.#samples = [...fresh, last].slice(-KEPT);
    this.at(ended);
    this.#skew = skewOf(this.#samples);
    const aging = this.#skew ? AGING_WITH_SKEW : AGING;
    // Each sample leaves the offset the room of half its trip. The middle of what all of them leave is the estimate: so the
    // quickest way there and the quickest way back count, which are rarely those of one round trip.
    let [most, least] = [Infinity, -Infinity];
    for (const one of this.#samples) {
      const error = one.trip / 2 + (ended - one.at) * aging;
      const offset = this.#project(one, ended);
      most = Math.min(most, offset + error);
      least = Math.max(least, offset - error);
    }
    const offset = (most + least) / 2;
    this.#best = { offset, at: ended };
    const settles = this.#settling > 0;
    this.#settling -= settles ? 1 : 0;
    if (settles || !this.smooth || Math.abs(offset - this.#offset) > STEP_MS) this.#step(offset, ended);
  }

  // After a new connection it may be another server, or this computer may have slept.
  forget() {
    this.#samples = [];
    this.#skew = 0;
    this.#settling = SETTLING_SAMPLES;
  }

  #hinted(offset) {
    const at = this.#environment.elapsedMs();
    this.#best = { offset, at };
    this.#step(offset, at);
  }

  #step(offset, at) {
    this.#known = true;
    this.#offset = offset;
    this.#movedAt = at;
  }

  #project({ offset, at }, elapsed) {
    return offset + this.#skew * (elapsed - at);
  }
}

/*
 * Return by how many ms per ms the offset grows: each sample says that the offset was within half of its trip, and the best line
 * is the one that these bounds leave the most room.
 */
function skewOf(samples) {
  const last = samples.at(-1);
  if (last.at - samples[0].at < SKEW_AFTER_MS) return 0;
  const room = (skew) => {
    const lines = samples.map((one) => ({ offset: one.offset + skew * (last.at - one.at), error: one.trip / 2 }));
    return Math.min(...lines.map(({ offset, error }) => offset + error)) - Math.max(...lines.map(({ offset, error }) => offset - error));
  };
  let [low, high] = [-MAX_SKEW, MAX_SKEW];
  while (high - low > SKEW_STEP) {
    const third = (high - low) / 3;
    if (room(low + third) < room(high - third)) low += third;
    else high -= third;
  }
  return (low + high) / 2;
}
