import type { Log } from '../../lib/log.js';
import {
  CHECK_AGAIN_MS,
  isHolding,
  onCensus,
  onCheck,
  onTime,
  PATIENCE_MS,
  UNSUSPECTING,
  type Census,
  type Suspicion,
} from '../../policies/self-suspicion-rules.js';
import type { FleetClock, FleetInstant } from '../fleet-clock/fleet-clock.js';
import type { DeafConditions } from '../listening/listening.js';
import type { OwnPath } from '../listening/own-path.js';

export interface SelfSuspicionDeps {
  readonly path: OwnPath;
  readonly ledger: DeafConditions;
  readonly fleetClock: Pick<FleetClock, 'fleet'>;
  readonly log: Log;
}

const HURRIED_CENSUS_EVERY_MS = 10_000;

/** Holds the verdicts of one process while it is the likelier cause of a silence itself (design.md §5). */
export class SelfSuspicion {
  readonly #deps: SelfSuspicionDeps;
  #suspicion: Suspicion = UNSUSPECTING;
  #isChecking = false;
  #checkAt: FleetInstant = Number.NEGATIVE_INFINITY;
  /** What the last census left in contact, and how many were found falling since. */
  #inContact = 0;
  #fallen = 0;
  #countedAt: FleetInstant = Number.NEGATIVE_INFINITY;

  constructor(deps: SelfSuspicionDeps) {
    this.#deps = deps;
  }

  /** Since when verdicts wait, and until when at the latest; undefined while they do not. */
  hold(): { readonly since: FleetInstant; readonly until: FleetInstant } | undefined {
    if (!isHolding(this.#suspicion)) return undefined;
    const { since } = this.#suspicion;
    return { since, until: since + PATIENCE_MS };
  }

  /** Goes on as time does; `heardSince` counts the computers that have reported after an instant. */
  step(heardSince: (since: FleetInstant) => number): void {
    const { phase } = this.#suspicion;
    if (phase === 'none') return;
    const at = this.#deps.fleetClock.fleet();
    const heard = phase === 'believed' ? heardSince(this.#suspicion.since) : 0;
    this.#turnTo(onTime(this.#suspicion, { at, heard }));
    if (isHolding(this.#suspicion) && !this.#isChecking && at >= this.#checkAt) void this.#check();
  }

  /**
   * Whether the computers have to be counted before `falling` more are called silent; `isMore` says that others are due
   * that are not among them. A count is not repeated before a tenth of those that it found in contact has fallen.
   */
  mustCount(falling: number, isMore: boolean): boolean {
    if (falling === 0 || this.#suspicion.phase !== 'none') return false;
    this.#fallen += falling;
    if (10 * this.#fallen >= this.#inContact) return true;
    return isMore && this.#deps.fleetClock.fleet() - this.#countedAt > HURRIED_CENSUS_EVERY_MS;
  }

  take(census: Census): void {
    const at = this.#deps.fleetClock.fleet();
    this.#inContact = census['in-contact'];
    this.#fallen = 0;
    this.#countedAt = at;
    this.#turnTo(onCensus(this.#suspicion, census, at));
    if (isHolding(this.#suspicion)) void this.#check();
  }

  async #check(): Promise<void> {
    this.#isChecking = true;
    const fault = await this.#deps.path.check();
    this.#isChecking = false;
    const at = this.#deps.fleetClock.fleet();
    this.#checkAt = at + CHECK_AGAIN_MS;
    this.#turnTo(onCheck(this.#suspicion, fault, at));
  }

  #turnTo(next: Suspicion): void {
    const before = this.#suspicion;
    if (before === next) return;
    this.#suspicion = next;
    const { ledger, log } = this.#deps;
    if (next.phase === 'checking')
      log.warn({ computers: next.counted }, 'nearly all computers fell silent together: the own path is checked first');
    if (next.phase === 'broken') {
      if (before.phase !== 'broken') log.error({ fault: next.fault }, 'the own path is broken; verdicts are held');
      // Whose silence is in doubt is excused from its beginning on.
      ledger.beginDeaf('self-suspicion', next.lostAt);
    }
    if (next.phase === 'believed') {
      log.warn({ by: next.by, computers: next.counted }, 'the silence is believed; verdicts go on');
      // Nothing could be told of the own path all the while: that excuses as much as a fault that was found.
      if (next.by === 'patience' && isHolding(before)) ledger.beginDeaf('self-suspicion', before.lostAt);
      ledger.endDeaf('self-suspicion');
    }
  }
}
