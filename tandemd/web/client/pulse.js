// The pulse of one connection: finds out whether it lives, and what time it is at the server.

// The more of them, the less the jitter of the links counts: some at once, then one a second.
const FIRST_PINGS_MS = [100, 250, 450, 700, 1000, 1400, 1900, 2500, 3300, 4300];
const EVERY_SECOND_UNTIL = 30;
for (let second = 5; second <= EVERY_SECOND_UNTIL; second += 1) FIRST_PINGS_MS.push(1000 * second);

export class Pulse {
  #environment;
  #clock;
  #everyMs;
  #withinMs;
  #send;
  #dead;
  #pings = [];
  #timers = [];
  #deadline;

  // send(message): sends it. dead(): is called when a PONG has not come within withinMs.
  constructor({ environment, clock, everyMs, withinMs, send, dead }) {
    this.#environment = environment;
    this.#clock = clock;
    this.#everyMs = everyMs;
    this.#withinMs = withinMs;
    this.#send = send;
    this.#dead = dead;
  }

  start() {
    this.ping();
    this.#timers = FIRST_PINGS_MS.map((after) => this.#environment.setTimeout(() => this.ping(), after));
    this.#next();
  }

  stop() {
    for (const timer of [this.#deadline, ...this.#timers]) this.#environment.clearTimeout(timer);
  }

  // Ask now, unless an answer is waited for.
  check() {
    if (!this.#pings.length) this.ping();
  }

  ping() {
    const t0 = this.#environment.elapsedMs();
    this.#pings.push(t0);
    this.#send({ type: 'PING', t0 });
    if (this.#pings.length === 1) this.#expect();
  }

  // ended: when the PONG came, by environment.elapsedMs().
  pong(message, ended) {
    // PONGs come in the order of their PINGs.
    const began = this.#pings.shift();
    this.#environment.clearTimeout(this.#deadline);
    if (this.#pings.length) this.#expect();
    // An older server says only the whole millisecond.
    const { timestamp, received = timestamp + 0.5, sent = received } = message;
    if (began !== undefined && Number.isFinite(received) && Number.isFinite(sent)) {
      this.#clock.sample({ began, ended, received, sent });
    }
  }

  #next() {
    this.#timers[FIRST_PINGS_MS.length] = this.#environment.setTimeout(() => {
      this.#next();
      this.ping();
    }, this.#everyMs);
  }

  #expect() {
    this.#deadline = this.#environment.setTimeout(this.#dead, this.#withinMs);
  }
}
