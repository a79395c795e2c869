import { setImmediate as nextTurn } from 'node:timers/promises';

/** Whoever sends statements; at most one of its statements waits at a time. */
export interface Client {
  /** It is inside a transaction: what it does next comes before what others begin. */
  readonly isOpen: boolean;
}

interface Waiting {
  readonly client: Client | undefined;
  readonly run: () => Promise<void>;
}

/** Turns of the event loop after which whoever could have done something has done it. */
const QUIET_TURNS = 3;

/**
 * Lets one statement through at a time. A transaction goes on to its end before another begins, unless it waits for
 * something else than the database; so the order does not depend on how fast anything really is.
 */
export class Turnstile {
  #waiting: Waiting[] = [];
  /** Clients with an open transaction, the last one first. */
  #open: Client[] = [];
  #statements = 0;

  get statements(): number {
    return this.#statements;
  }

  enter<T>(client: Client | undefined, action: () => Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ client, run: () => action().then(resolve, reject) });
    });
  }

  /** Before all that waits. */
  enterFirst(action: () => Promise<void>): void {
    this.#waiting.unshift({ client: undefined, run: action });
  }

  begun(client: Client): void {
    this.#open.unshift(client);
  }

  /** Its transaction is over, and nothing more of it is let through where it is cut off. */
  ended(client: Client, options: { readonly isCutOff: boolean } = { isCutOff: false }): void {
    this.#open = this.#open.filter((other) => other !== client);
    if (options.isCutOff) this.#waiting = this.#waiting.filter((waiting) => waiting.client !== client);
  }

  /** Resolves when no statement waits and no promise is pending that could go on without time passing. */
  async settle(): Promise<void> {
    for (let quiet = 0; quiet < QUIET_TURNS; quiet += 1) {
      await nextTurn();
      const next = this.#take(quiet > 0);
      if (!next) continue;
      this.#statements += 1;
      await next.run();
      quiet = -1;
    }
  }

  #take(mayBegin: boolean): Waiting | undefined {
    const first = this.#waiting.findIndex(({ client }) => client === undefined);
    if (first >= 0) return this.#remove(first);
    for (const client of this.#open) {
      const place = this.#waiting.findIndex((waiting) => waiting.client === client);
      if (place >= 0) return this.#remove(place);
    }
    return mayBegin && this.#waiting.length > 0 ? this.#remove(0) : undefined;
  }

  #remove(place: number): Waiting | undefined {
    return this.#waiting.splice(place, 1)[0];
  }
}
