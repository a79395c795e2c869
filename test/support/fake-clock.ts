import type { FleetClock } from '../../server/fleet-clock/fleet-clock.js';

interface Sleeper {
  readonly wakesAt: number;
  readonly wake: () => void;
}

/** A clock that stands still until a test moves it; `advance` wakes the sleepers on its way in their order. */
export class FakeClock implements FleetClock {
  #monotonic = 0;
  #suspended = 0;
  #wall: number;
  #fleetBase: number;
  #sleepers: Sleeper[] = [];

  constructor(startMs: number = Date.UTC(2026, 10, 21, 12)) {
    this.#wall = startMs;
    this.#fleetBase = startMs;
  }

  wall = (): number => this.#wall;
  monotonic = (): number => this.#monotonic;
  boot = (): number => this.#monotonic + this.#suspended;
  fleet = (): number => this.#fleetBase + this.boot();
  toWall = (instant: number): number => instant;
  toTrusted = (instant: number): number => instant;
  trustedTime = (): number => this.fleet();
  toFleet = (wallMs: number): number => wallMs;

  get sleeping(): number {
    return this.#sleepers.length;
  }

  sleep(ms: number, signal?: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      if (signal?.aborted) return reject(signal.reason as Error);
      const onAbort = () => {
        this.#sleepers = this.#sleepers.filter((other) => other !== sleeper);
        reject(signal?.reason as Error);
      };
      const wake = () => {
        signal?.removeEventListener('abort', onAbort);
        resolve();
      };
      const sleeper = { wakesAt: this.#monotonic + Math.max(0, ms), wake };
      signal?.addEventListener('abort', onAbort, { once: true });
      this.#sleepers.push(sleeper);
    });
  }

  /** Moves every clock forward; between two wake-ups pending promises get their turn. */
  async advance(ms: number): Promise<void> {
    const target = this.#monotonic + ms;
    await settle();
    for (let next = this.#nextBy(target); next; next = this.#nextBy(target)) {
      this.#moveTo(Math.max(this.#monotonic, next.wakesAt));
      this.#sleepers = this.#sleepers.filter((other) => other !== next);
      next.wake();
      await settle();
    }
    this.#moveTo(target);
    await settle();
  }

  /** Time passes while nothing runs, as in a suspend or a stalled event loop: sleepers wake late, at the end. */
  async jump(ms: number): Promise<void> {
    this.#moveTo(this.#monotonic + ms);
    await this.advance(0);
  }

  /** The machine sleeps: only the wall clock and the boot clock go on. */
  suspend(ms: number): void {
    this.#suspended += ms;
    this.#wall += ms;
  }

  stepWall(ms: number): void {
    this.#wall += ms;
  }

  #nextBy(target: number): Sleeper | undefined {
    const [first] = this.#sleepers.filter(({ wakesAt }) => wakesAt <= target).sort((a, b) => a.wakesAt - b.wakesAt);
    return first;
  }

  #moveTo(monotonic: number): void {
    this.#wall += monotonic - this.#monotonic;
    this.#monotonic = monotonic;
  }
}

async function settle(): Promise<void> {
  for (let turn = 0; turn < 3; turn += 1) await new Promise((resolve) => setImmediate(resolve));
}
