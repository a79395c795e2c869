import { LANES, type Lane } from '../../protocol/heartbeat-messages.js';

/** Who waits for whom in the spool. */
export class SpoolOrder {
  readonly #inside = new Set<Promise<unknown>>();
  #alone: Promise<unknown> | undefined;
  readonly #lanes = new Map<Lane, Promise<unknown>>();

  /** Beside others, but not while somebody is `alone`. The action must not come here again: it would wait for itself. */
  async beside<T>(action: () => Promise<T>): Promise<T> {
    while (this.#alone) await this.#alone;
    const run = action();
    const settled = run.catch(() => undefined);
    this.#inside.add(settled);
    try {
      return await run;
    } finally {
      this.#inside.delete(settled);
    }
  }

  /** When all that has begun has ended; what comes meanwhile waits. */
  async alone<T>(action: () => Promise<T>): Promise<T> {
    while (this.#alone) await this.#alone;
    const run = Promise.all(this.#inside).then(action);
    this.#alone = run.catch(() => undefined);
    try {
      return await run;
    } finally {
      this.#alone = undefined;
    }
  }

  /** One at a time for each lane: who takes records out counts the same ones. */
  async exclusively<T>(lanes: readonly Lane[], action: () => Promise<T>): Promise<T> {
    // Always in the same order, so that nobody waits for each other.
    const [lane, ...rest] = LANES.filter((one) => lanes.includes(one));
    if (lane === undefined) return action();
    while (this.#lanes.has(lane)) await this.#lanes.get(lane);
    const run = this.exclusively(rest, action);
    this.#lanes.set(
      lane,
      run.catch(() => undefined),
    );
    try {
      return await run;
    } finally {
      this.#lanes.delete(lane);
    }
  }
}
