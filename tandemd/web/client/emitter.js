// Listeners by the name of an event.

export class Emitter {
  #listeners = new Map();

  /*
   * Call a listener at each event of a name. Returns a function that ends this.
   * An error of a listener reaches neither the library nor the other listeners: it is rejected as a promise, so that the
   * browser or Node reports it.
   */
  on(name, listener) {
    const listeners = this.#listeners.get(name) ?? [];
    this.#listeners.set(name, [...listeners, listener]);
    return () => {
      const others = this.#listeners.get(name).filter((one) => one !== listener);
      this.#listeners.set(name, others);
    };
  }

  // For subclasses: report an event.
  emit(name, ...values) {
    for (const listener of this.#listeners.get(name) ?? []) {
      try {
        listener(...values);
      } catch (error) {
        Promise.reject(error);
      }
    }
  }
}
