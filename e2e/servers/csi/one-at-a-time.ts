/** Runs jobs of the same name one after the other, and those of different names beside each other. */
export class OneAtATime {
  readonly #last = new Map<string, Promise<unknown>>();

  run<T>(name: string, job: () => Promise<T>): Promise<T> {
    const before = this.#last.get(name) ?? Promise.resolve();
    const mine = before.then(job, job);
    this.#last.set(name, mine);
    const tidy = (): void => {
      if (this.#last.get(name) === mine) this.#last.delete(name);
    };
    mine.then(tidy, tidy);
    return mine;
  }
}
