// The time of a run: real for the client library and the daemon, simulated for the models. Milliseconds.

export class RealTime {
  now() {
    return performance.now();
  }

  setTimeout(run, ms) {
    return setTimeout(run, ms);
  }

  clearTimeout(timer) {
    clearTimeout(timer);
  }

  pass(ms) {
    return new Promise((resolve) => setTimeout(resolve, ms));
  }
}

// Time that passes only in `pass`, from event to event.
export class SimulatedTime {
  #now = 0;
  #events = new Map();
  #next = 1;

  now() {
    return this.#now;
  }

  setTimeout(run, ms) {
    this.#events.set(this.#next, { run, due: this.#now + Math.max(0, ms) });
    return this.#next++;
  }

  clearTimeout(timer) {
    this.#events.delete(timer);
  }

  async pass(ms) {
    for (const end = this.#now + ms; ; ) {
      let first = null;
      for (const [id, event] of this.#events) {
        if (event.due <= end && (!first || event.due < first.due)) first = { id, ...event };
      }
      this.#now = first?.due ?? end;
      if (!first) return;
      this.#events.delete(first.id);
      first.run();
    }
  }
}
