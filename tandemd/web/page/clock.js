// The estimate of the server's clock, by the time that has passed here. The clock of this computer may be wrong or be
// set, so it is not used.

import { elapsedMs } from './browser.js';

const KEPT = 12;
const FRESH_MS = 5 * 60_000;

export class ServerClock {
  #samples = [];
  #offset = null;

  // Whether the server has told its time.
  get known() {
    return this.#offset !== null;
  }

  // Milliseconds since 1970 on the server's clock; before it is known, milliseconds from an arbitrary start.
  now() {
    return elapsedMs() + (this.#offset ?? 0);
  }

  // A message has just come that says what time it is there; it was some time on its way. Good enough until a round
  // trip is known.
  hint(serverTime) {
    if (!this.#samples.length) this.#offset = serverTime - elapsedMs();
  }

  // A round trip: when it began and ended by elapsedMs(), and the server's clock in between.
  sample(began, ended, serverTime) {
    // The server cuts its clock to whole milliseconds.
    const last = { trip: ended - began, at: ended, offset: serverTime + 0.5 - (began + ended) / 2 };
    // Each is wrong by half of its trip at most. Those that contradict the last are old: the server's clock runs a little
    // faster or slower while it follows one that was set.
    const agrees = (one) => Math.abs(one.offset - last.offset) <= (one.trip + last.trip) / 2 + 1;
    this.#samples = [...this.#samples.filter((one) => ended - one.at < FRESH_MS && agrees(one)), last].slice(-KEPT);
    // The shortest trip leaves the least room for error.
    this.#offset = this.#samples.reduce((best, one) => (one.trip < best.trip ? one : best)).offset;
  }

  // After a new connection it may be another server, or this computer may have slept.
  forget() {
    this.#samples = [];
  }
}
