import type { Log } from '../../lib/log.js';
import { Problem } from '../../lib/problem.js';
import { drainedContactMs, shareOf, type ContactOrder, type Drain } from '../../policies/drain-rules.js';
import type { ManagerJournal } from '../events/manager-journal.js';
import type { FleetClock, FleetInstant } from '../fleet-clock/fleet-clock.js';
import { drainBegan, drainEnded } from '../manager-notes.js';

/** A manager that means to go: it makes no verdicts, dials nobody, and tells agents to come back afterwards. */
export interface DrainPeriod extends Drain {
  readonly since: FleetInstant;
  /** When all goes on as before, unless the manager was stopped meanwhile; null where it is being stopped. */
  readonly resumesAt: FleetInstant | null;
}

export interface ManagerDrain {
  /** Undefined while the manager works as ever. */
  period(): DrainPeriod | undefined;
  isOn(): boolean;
  /** Throws `manager-stopping` once a signal has told it to go. */
  assertStays(): void;
  /** Begins anew, or changes the end of the present one; the verdicts are others' when it resolves. Throws `manager-stopping`. */
  begin(seconds: number): Promise<void>;
  /** All goes on as before. Throws `manager-stopping`. */
  end(): Promise<void>;
  /** Drains for good, and resolves at the end of it, or when the signal says so; with nothing to wait for at once. */
  leave(seconds: number, signal: AbortSignal): Promise<void>;
  /** What an agent is ordered meanwhile. */
  readonly orderContact: ContactOrder;
  /** Called after every beginning and end, so that it acts at once; must not reject. */
  onChange(listener: () => Promise<void>): void;
}

export interface ManagerDrainDeps {
  readonly fleetClock: Pick<FleetClock, 'fleet' | 'sleep'>;
  readonly journal: Pick<ManagerJournal, 'note'>;
  readonly log: Pick<Log, 'info'>;
}

/** A manager that nobody stops does not stay blind: it waits for its stop as long as it drained, and at least so long. */
const SHORTEST_WAIT_MS = 60_000;

export function createManagerDrain(deps: ManagerDrainDeps): ManagerDrain {
  return new DrainState(deps);
}

class DrainState implements ManagerDrain {
  readonly #deps: ManagerDrainDeps;
  #period: DrainPeriod | undefined;
  #told = 0;
  readonly #listeners: (() => Promise<void>)[] = [];

  constructor(deps: ManagerDrainDeps) {
    this.#deps = deps;
  }

  period(): DrainPeriod | undefined {
    const resumesAt = this.#period?.resumesAt ?? Number.POSITIVE_INFINITY;
    if (this.#deps.fleetClock.fleet() >= resumesAt) void this.#resume('nobody stopped the manager');
    return this.#period;
  }

  isOn(): boolean {
    return this.period() !== undefined;
  }

  async begin(seconds: number): Promise<void> {
    this.assertStays();
    const at = this.#deps.fleetClock.fleet();
    const spreadMs = seconds * 1000;
    const endsAt = at + spreadMs;
    const resumesAt = endsAt + Math.max(spreadMs, SHORTEST_WAIT_MS);
    await this.#set({ since: this.#period?.since ?? at, endsAt, spreadMs, resumesAt });
  }

  assertStays(): void {
    if (this.period()?.resumesAt === null)
      throw new Problem('manager-stopping', {
        detail: 'It was told to stop by a signal, and will be gone in a moment.',
      });
  }

  async end(): Promise<void> {
    this.assertStays();
    if (this.#period) await this.#resume('asked for');
  }

  async leave(seconds: number, signal: AbortSignal): Promise<void> {
    const known = this.period();
    if (seconds === 0 && !known) return;
    const at = this.#deps.fleetClock.fleet();
    const ownEnd = at + seconds * 1000;
    const { since, endsAt, spreadMs } = known ?? { since: at, endsAt: ownEnd, spreadMs: seconds * 1000 };
    const period = { since, endsAt: Math.min(endsAt, ownEnd), spreadMs, resumesAt: null };
    void this.#set(period);
    // Rejects when it is cut short.
    await this.#deps.fleetClock.sleep(Math.max(0, period.endsAt - at), signal).catch(() => undefined);
  }

  readonly orderContact: ContactOrder = (usual) => {
    const period = this.period();
    if (!period) return usual.usualMs;
    this.#told += 1;
    return drainedContactMs(usual, period, shareOf(this.#told));
  };

  onChange(listener: () => Promise<void>): void {
    this.#listeners.push(listener);
  }

  async #set(period: DrainPeriod): Promise<void> {
    const { log, journal } = this.#deps;
    const seconds = Math.round((period.endsAt - period.since) / 1000);
    this.#period = period;
    log.info({ seconds, isStopping: period.resumesAt === null }, 'draining: verdicts are off');
    journal.note(drainBegan(seconds));
    await this.#tell();
  }

  async #resume(why: string): Promise<void> {
    const { log, journal } = this.#deps;
    this.#period = undefined;
    log.info({ why }, 'drained no more: verdicts are on');
    journal.note(drainEnded(why));
    await this.#tell();
  }

  async #tell(): Promise<void> {
    await Promise.all(this.#listeners.map((listener) => listener()));
  }
}
