// What the viewers do: the same for the client library and for each model.

import { Measurement, summary } from './measurement.js';
import { viewersOf } from './viewers.js';

const STEP_MS = 50;
const GIVE_UP_MS = 20_000;
const SLOW_MS = 3000;
const LOSS_A_SECOND = 0.03;
const OUTAGE_MS = [200, 3000];

const PARTS = ['steady', 'play', 'pause', 'seek', 'late join', 'slow member', 'loss'];

/*
 * crowd: has open(specs), join(spec), leave(viewer), play(), pause(), seek(position), cut(viewer, ms), close(), and
 * viewers: [{player}], of which the first one presses.
 * options: viewers and jitterMs, see viewersOf; parts, of PARTS; seconds of steady play and of losses; rounds: how often a
 * transition is repeated; calmMs: between two of them.
 */
export class Scenario {
  #time;
  #random;
  #crowd;
  #options;
  #measurement;
  #figures = {};

  constructor(time, random, crowd, options) {
    this.#time = time;
    this.#random = random;
    this.#crowd = crowd;
    this.#options = options;
    this.#measurement = new Measurement(time, crowd);
  }

  // Return the figures by part: spread in ms; settled, waited (see #transition); seeks and steered of steady play (see Measurement).
  async run() {
    const { viewers, jitterMs, parts, calmMs } = this.#options;
    await this.#crowd.open(viewersOf(this.#random, viewers, jitterMs));
    await this.#time.pass(calmMs);
    await this.#transition('first play', () => this.#crowd.play());
    for (const part of PARTS.filter((one) => parts.includes(one))) await this.#part(part);
    this.#crowd.close();
    return Object.fromEntries(Object.entries(this.#figures).map(([name, figure]) => [name, summaries(figure)]));
  }

  async #part(part) {
    const { rounds, seconds, jitterMs } = this.#options;
    if (part === 'steady') return this.#along(part, seconds, () => {});
    if (part === 'loss') return this.#along(part, seconds, () => this.#lose());
    for (let round = 0; round < rounds; round += 1) {
      if (part === 'play' || part === 'pause') {
        await this.#pause(part);
        await this.#transition(part === 'play' ? part : null, () => this.#crowd.play());
      } else if (part === 'seek') {
        await this.#transition(part, () => this.#crowd.seek(600 + 600 * round));
      } else if (part === 'slow member') {
        const slow = this.#random.pick(this.#crowd.viewers.slice(1));
        await this.#transition(part, () => slow.player.stall(SLOW_MS), () => [slow]);
      } else {
        const [spec] = viewersOf(this.#random, 1, jitterMs);
        let newcomer;
        await this.#transition(part, async () => (newcomer = await this.#crowd.join(spec)), () => [newcomer]);
        this.#crowd.leave(newcomer);
      }
    }
    return undefined;
  }

  /*
   * Run `act`, and measure from the motion of the last player of `who()`: the players that must stop and move again. waited: the
   * ms from the press until the player that pressed moves. name: null keeps no figure.
   */
  async #transition(name, act, who = () => this.#crowd.viewers) {
    const measurement = this.#measurement;
    measurement.begin();
    await act();
    await this.#until(() => measurement.movedAt(who()) > 0);
    const event = measurement.movedAt(who());
    await this.#time.pass(this.#options.calmMs);
    measurement.end();
    if (!(event > 0)) process.stderr.write(`${this.#crowd.name}: ${name}: not all players moved\n`);
    else if (name) this.#note(name, { ...measurement.after(event), waited: this.#waited() });
  }

  #waited() {
    const moved = this.#measurement.movedAt([this.#crowd.viewers[0]]);
    return moved > 0 ? moved - this.#measurement.pressedAt : undefined;
  }

  async #pause(part) {
    const measurement = this.#measurement;
    measurement.begin();
    this.#crowd.pause();
    await this.#until(() => this.#crowd.viewers.every(({ player }) => player.paused));
    await this.#time.pass(this.#options.calmMs / 2);
    measurement.end();
    if (part === 'pause') this.#note(part, measurement.after(measurement.pressedAt));
  }

  async #along(name, seconds, everySecond) {
    const measurement = this.#measurement;
    measurement.begin();
    for (let second = 0; second < seconds; second += 1) {
      everySecond();
      await this.#time.pass(1000);
    }
    measurement.end();
    const { spreads, seeks, steered } = measurement.along();
    this.#note(name, { spreads });
    Object.assign(this.#figures[name], { seeks, steered });
  }

  #lose() {
    for (const viewer of this.#crowd.viewers) {
      if (this.#random.next() < LOSS_A_SECOND) this.#crowd.cut(viewer, this.#random.between(...OUTAGE_MS));
    }
  }

  async #until(condition) {
    for (const end = this.#time.now() + GIVE_UP_MS; this.#time.now() < end && !condition(); ) await this.#time.pass(STEP_MS);
  }

  #note(name, { spreads, settled, waited }) {
    const figure = (this.#figures[name] ??= { spread: [], settled: [], waited: [] });
    figure.spread.push(...spreads);
    if (settled !== undefined) figure.settled.push(settled);
    if (waited !== undefined) figure.waited.push(waited);
  }
}

function summaries({ spread, settled, waited, ...figures }) {
  const of = (values) => (values.length ? summary(values) : undefined);
  return { ...figures, spread: of(spread), settled: of(settled), waited: of(waited) };
}
