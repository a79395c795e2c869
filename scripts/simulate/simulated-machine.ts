import type { Clock } from '../../lib/clock.js';
import type { SeededRandom } from './seeded-random.js';
import type { Appointment, Timeline } from './timeline.js';

/** The wall time at which every simulation begins. */
export const BEGIN_MS = Date.UTC(2026, 10, 21, 12);

/** A computer with its clocks; processes come and go on it. */
export class Machine {
  readonly timeline: Timeline;
  readonly #random: SeededRandom;
  #bootedAt: number;
  #wallOffset: number;
  #suspendedMs = 0;
  #bootId: string;

  constructor(timeline: Timeline, random: SeededRandom, options: { upForMs: number; wallOffsetMs: number }) {
    this.timeline = timeline;
    this.#random = random;
    this.#bootedAt = timeline.now - options.upForMs;
    this.#wallOffset = options.wallOffsetMs;
    this.#bootId = random.uuid();
  }

  get bootId(): string {
    return this.#bootId;
  }

  wall(): number {
    return BEGIN_MS + this.timeline.now + this.#wallOffset;
  }

  boot(): number {
    return this.timeline.now - this.#bootedAt;
  }

  monotonic(): number {
    return this.boot() - this.#suspendedMs;
  }

  stepWall(ms: number): void {
    this.#wallOffset += ms;
  }

  /** Time that a suspend took, told at its end. */
  noteSuspend(ms: number): void {
    this.#suspendedMs += ms;
  }

  reboot(): void {
    this.#bootedAt = this.timeline.now;
    this.#suspendedMs = 0;
    this.#bootId = this.#random.uuid();
  }

  spawn(): SimulatedProcess {
    return new SimulatedProcess(this);
  }
}

type ProcessState = 'running' | 'paused' | 'dead';

/** One life of a program. What was killed never hears of anything again: its promises stay pending for ever. */
export class SimulatedProcess {
  readonly machine: Machine;
  readonly clock: Clock;
  #state: ProcessState = 'running';
  #deferred: (() => void)[] = [];
  readonly #begunAt: number;
  #pausedAt = 0;
  #pausedMs = 0;
  readonly #obituaries = new Set<() => void>();

  constructor(machine: Machine) {
    this.machine = machine;
    this.#begunAt = machine.timeline.now;
    this.clock = {
      wall: () => machine.wall(),
      monotonic: () => machine.monotonic(),
      boot: () => machine.boot(),
      sleep: (ms, signal) => this.#sleep(ms, signal),
    };
  }

  get isDead(): boolean {
    return this.#state === 'dead';
  }

  get isPaused(): boolean {
    return this.#state === 'paused';
  }

  /** How long it has run so far; not while it is paused. */
  ranMs(): number {
    return this.machine.timeline.now - this.#begunAt - this.#pausedMs;
  }

  /** Now, when the process goes on, or never. */
  deliver(action: () => void): void {
    if (this.#state === 'running') action();
    else if (this.#state === 'paused') this.#deferred.push(action);
  }

  pause(): void {
    if (this.#state !== 'running') return;
    this.#state = 'paused';
    this.#pausedAt = this.machine.timeline.now;
  }

  resume(): void {
    if (this.#state !== 'paused') return;
    this.#state = 'running';
    this.#pausedMs += this.machine.timeline.now - this.#pausedAt;
    const waiting = this.#deferred;
    this.#deferred = [];
    for (const action of waiting) this.machine.timeline.after(0, () => this.deliver(action));
  }

  kill(): void {
    if (this.#state === 'dead') return;
    this.#state = 'dead';
    this.#deferred = [];
    for (const tell of this.#obituaries) tell();
  }

  /** The answer takes it back. */
  onDeath(tell: () => void): () => void {
    this.#obituaries.add(tell);
    return () => void this.#obituaries.delete(tell);
  }

  /** What `promise` comes to, unless the process is dead by then. */
  whileAlive<T>(promise: Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      promise.then(
        (value) => this.isDead || resolve(value),
        (error: unknown) => this.isDead || reject(error as Error),
      );
    });
  }

  #sleep(ms: number, signal?: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      if (signal?.aborted) return reject(signal.reason as Error);
      const appointment: { current?: Appointment } = {};
      const onAbort = (): void => {
        appointment.current?.cancel();
        if (!this.isDead) reject(signal?.reason as Error);
      };
      const wake = (): void => {
        signal?.removeEventListener('abort', onAbort);
        if (!signal?.aborted) resolve();
      };
      appointment.current = this.machine.timeline.after(ms, () => this.deliver(wake));
      signal?.addEventListener('abort', onAbort, { once: true });
    });
  }
}
