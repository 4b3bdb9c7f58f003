// Random numbers that a seed decides.

export class Random {
  #state;

  constructor(seed) {
    this.#state = seed >>> 0;
  }

  // Return a number from 0 to below 1 (mulberry32).
  next() {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let mixed = this.#state;
    mixed = Math.imul(mixed ^ (mixed >>> 15), mixed | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  }

  between(low, high) {
    return low + (high - low) * this.next();
  }

  // Small values as often as large ones: each factor of two has the same share.
  evenByFactor(low, high) {
    return low * (high / low) ** this.next();
  }

  pick(list) {
    return list[Math.floor(this.next() * list.length)];
  }
}
