/** Calls whoever listens; one that throws disturbs nobody else. */
export class Listeners {
  /** @type {Map<string, Set<(value: any) => void>>} */
  #byName = new Map();

  /**
   * @param {string} name
   * @param {(value: any) => void} listener
   * @returns {() => void} Stops listening.
   */
  add(name, listener) {
    const set = this.#byName.get(name) ?? new Set();
    this.#byName.set(name, set.add(listener));
    return () => void set.delete(listener);
  }

  /**
   * @param {string} name
   * @param {any} value
   */
  tell(name, value) {
    for (const listener of [...(this.#byName.get(name) ?? [])]) {
      try {
        listener(value);
      } catch (error) {
        // It is the listener's fault: shown like any uncaught error, and the timeline goes on.
        queueMicrotask(() => {
          throw error;
        });
      }
    }
  }

  clear() {
    this.#byName.clear();
  }
}
