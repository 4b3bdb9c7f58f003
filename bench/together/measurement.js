// How far apart the players are. All positions of a sample are those of one instant, by the formulas of the players: a late timer
// costs a sample, and does not distort one.

const EVERY_MS = 10;
const TOGETHER_MS = 50;
// The window after a transition in which the spread counts.
const WINDOW_MS = 1000;
const RATE_IN_STEP = 0.03;

export class Measurement {
  pressedAt = 0;
  #time;
  #crowd;
  #samples = [];
  // By player: when it moved first after the press, and its seeks before.
  #moved = new Map();
  #seeks = new Map();
  #steered = 0;
  #timer;

  constructor(time, crowd) {
    this.#time = time;
    this.#crowd = crowd;
  }

  // Begin. This instant counts as that of the press.
  begin() {
    this.#samples = [];
    this.#moved.clear();
    this.#steered = 0;
    this.pressedAt = this.#time.now();
    for (const { player } of this.#crowd.viewers) this.#seeks.set(player, player.seeks);
    this.#sample();
  }

  end() {
    this.#time.clearTimeout(this.#timer);
  }

  // Return when the last of the viewers moved, for the first time since it has stood still after the press; NaN if one has not yet.
  movedAt(viewers) {
    return Math.max(...viewers.map(({ player }) => this.#moved.get(player) ?? NaN));
  }

  // Return all spreads in ms; the seeks; and the share of the time in which a player played at a rate beyond 3 % of normal.
  along() {
    const seeks = this.#crowd.viewers.map(({ player }) => player.seeks - (this.#seeks.get(player) ?? player.seeks));
    return {
      spreads: this.#samples.map(({ spread }) => spread),
      seeks: seeks.reduce((sum, one) => sum + one, 0),
      steered: this.#steered / this.#samples.length / this.#crowd.viewers.length,
    };
  }

  // Return the spreads of the second after an event in ms; and `settled`: the ms until all were within 50 ms for good.
  after(event) {
    const since = this.#samples.filter(({ at }) => at >= event);
    const apart = since.filter(({ spread }) => spread > TOGETHER_MS).map(({ at }) => at - event + EVERY_MS);
    return {
      spreads: since.filter(({ at }) => at < event + WINDOW_MS).map(({ spread }) => spread),
      settled: Math.max(0, ...apart),
    };
  }

  #sample() {
    this.#timer = this.#time.setTimeout(() => this.#sample(), EVERY_MS);
    const now = this.#time.now();
    let [least, most] = [Infinity, -Infinity];
    for (const { player } of this.#crowd.viewers) {
      const position = player.at(now);
      least = Math.min(least, position);
      most = Math.max(most, position);
      if (!this.#moved.has(player) && player.motionAt > this.pressedAt && player.moves(now)) {
        this.#moved.set(player, player.motionAt);
      }
      if (Math.abs(player.playbackRate - 1) > RATE_IN_STEP + 0.001) this.#steered += 1;
    }
    this.#samples.push({ at: now, spread: (most - least) * 1000 });
  }
}

// Return p50, p95 and the maximum of numbers, rounded to 0.1.
export function summary(values) {
  const sorted = [...values].sort((a, b) => a - b);
  const at = (share) => Math.round(10 * sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))]) / 10;
  return { p50: at(0.5), p95: at(0.95), max: at(1) };
}
