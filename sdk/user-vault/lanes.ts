// One thing at a time per name. Sealing and verifying are asynchronous, the store is not: what is read before a
// seal must still be true when it is written. Work on one service waits for its turn; services do not wait for
// each other.

export class Lanes {
  readonly #tails = new Map<string, Promise<unknown>>();

  /** Runs `work` after all earlier work of that name has ended, however it ended. */
  run<T>(name: string, work: () => Promise<T>): Promise<T> {
    const before = this.#tails.get(name) ?? Promise.resolve();
    const result = before.then(work, work);
    const tail = result.catch(() => {});
    this.#tails.set(name, tail);
    void tail.then(() => {
      if (this.#tails.get(name) === tail) this.#tails.delete(name);
    });
    return result;
  }

  /** Resolves when everything begun until now has ended. */
  async idle(): Promise<void> {
    await Promise.all(this.#tails.values());
  }
}
