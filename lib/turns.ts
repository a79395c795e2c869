/** Work that is done one after the other, in the order in which it was asked for, whatever becomes of it. */
export class Turns {
  #last: Promise<unknown> = Promise.resolve();

  /** Answers, or throws, what the work does when its turn has come. */
  take<T>(work: () => Promise<T>): Promise<T> {
    const turn = this.#last.then(work);
    this.#last = turn.catch(() => undefined);
    return turn;
  }
}
