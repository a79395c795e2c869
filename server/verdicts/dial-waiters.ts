import type { FleetInstant } from '../fleet-clock/fleet-clock.js';
import type { Suspect } from './owned-shards.js';
import type { SeenDial } from './verdict-repository.js';

/** The first look after a computer began to wait, and then the next one for as long as some wait. */
export const POLL_EVERY_MS = 1000;
/** So many are asked about at a time, in turn. */
export const POLL_BATCH = 2000;

interface Waiter {
  readonly suspect: Suspect;
  readonly endedAt: number | null;
}

/**
 * Computers that are silent for long enough, but for whom no dial that counts has failed yet. Whoever stores a failed dial
 * in this process says so; what another process stores is found by asking for the ends of their last dials.
 */
export class DialWaiters {
  readonly #waiters = new Map<string, Waiter>();
  #pollAt = Number.POSITIVE_INFINITY;

  get size(): number {
    return this.#waiters.size;
  }

  pollAt(): FleetInstant {
    return this.#waiters.size === 0 ? Number.POSITIVE_INFINITY : this.#pollAt;
  }

  /** `endedAt` is the end of the last failed dial that was known when it was judged. */
  add(suspect: Suspect, endedAt: number | null, at: FleetInstant): void {
    if (this.#waiters.size === 0) this.#pollAt = at + POLL_EVERY_MS;
    this.#waiters.set(suspect.computerId, { suspect, endedAt });
  }

  remove(computerId: string): void {
    if (this.#waiters.size > 0) this.#waiters.delete(computerId);
  }

  dropShards(shards: readonly number[]): void {
    for (const [computerId, { suspect }] of this.#waiters)
      if (shards.includes(suspect.shard)) this.#waiters.delete(computerId);
  }

  clear(): void {
    this.#waiters.clear();
  }

  /** Those whose turn it is; the others come before them the next time. */
  takeTurn(at: FleetInstant): SeenDial[] {
    this.#pollAt = at + POLL_EVERY_MS;
    const turn: SeenDial[] = [];
    for (const [computerId, waiter] of this.#waiters) {
      if (turn.length === POLL_BATCH) break;
      turn.push({ computerId, endedAt: waiter.endedAt });
    }
    for (const { computerId } of turn) {
      const waiter = this.#waiters.get(computerId);
      this.#waiters.delete(computerId);
      if (waiter) this.#waiters.set(computerId, waiter);
    }
    return turn;
  }
}
