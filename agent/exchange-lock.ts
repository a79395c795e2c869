/** One exchange in flight over all carriers. Whoever holds it calls the function it was given once. */
export class ExchangeLock {
  readonly #waiting: (() => void)[] = [];
  #held = false;

  /** Undefined where another exchange is in flight or waits. */
  tryAcquire(): (() => void) | undefined {
    if (this.#held) return undefined;
    this.#held = true;
    return this.#releaser();
  }

  /** In order of asking. */
  async acquire(): Promise<() => void> {
    if (this.#held) await new Promise<void>((resolve) => this.#waiting.push(resolve));
    this.#held = true;
    return this.#releaser();
  }

  async run<T>(action: () => Promise<T>): Promise<T> {
    const release = await this.acquire();
    try {
      return await action();
    } finally {
      release();
    }
  }

  #releaser(): () => void {
    let released = false;
    return () => {
      if (released) return;
      released = true;
      const next = this.#waiting.shift();
      // Handed over while held, so that nobody slips in between.
      if (next) next();
      else this.#held = false;
    };
  }
}
