import type { Clock } from '../../lib/clock.js';
import type { Log } from '../../lib/log.js';
import type { Random } from '../../lib/random.js';
import type { Sql } from '../database/sql.js';
import type { FleetClock } from './fleet-clock.js';
import {
  fleetAtStart,
  isStep,
  offsetAt,
  toTrustedOffsets,
  type Anchor,
  type ClockOffset,
} from './fleet-clock-rules.js';
import {
  insertAnchor,
  insertOffset,
  listOffsetsAfter,
  lockAnchor,
  moveAnchor,
  readGreatestStored,
} from './fleet-clock-repository.js';

export interface FleetClockDeps {
  readonly clock: Clock;
  /** Runs its work in one transaction. */
  readonly inTransaction: <T>(work: (sql: Sql) => Promise<T>) => Promise<T>;
  /** The kernel's boot id (`readBootId`). */
  readonly bootId: string;
  readonly random: Random;
  readonly log: Log;
}

export interface OpenedFleetClock extends FleetClock {
  /** Changes when the database is restored from a backup. */
  readonly restoreEpoch: string;
  /** Moves the anchor to this instant and notices steps of the wall clock; to be called every second. */
  renew(sql: Sql): Promise<void>;
  /** Called after a step of the wall clock was stored, at most once a minute; `byMs` is the sum since the last call. */
  onStep(listener: (step: { readonly byMs: number }) => void): void;
}

const TELL_STEPS_EVERY_MS = 60_000;

/** Reads the anchor, or makes it at the very first start, and goes on from there by the boot clock alone. */
export async function openFleetClock(deps: FleetClockDeps): Promise<OpenedFleetClock> {
  const opened = await deps.inTransaction((sql) => openAnchor(sql, deps));
  return new RunningFleetClock(deps, opened);
}

interface OpenedAnchor {
  readonly anchor: Anchor;
  readonly restoreEpoch: string;
  readonly offsets: readonly ClockOffset[];
  /** What the wall clock was stepped by while nobody looked. */
  readonly steppedMs: number;
}

async function openAnchor(sql: Sql, { clock, bootId, random }: FleetClockDeps): Promise<OpenedAnchor> {
  const reading = { wallMs: Math.floor(clock.wall()), bootId, bootMs: Math.floor(clock.boot()) };
  if (!(await lockAnchor(sql)))
    await insertAnchor(sql, { ...reading, fleetMs: reading.wallMs, restoreEpoch: random.uuid() });
  const stored = await lockAnchor(sql);
  if (!stored) throw new Error('The fleet clock has no anchor');
  const anchor = { ...reading, fleetMs: fleetAtStart(stored, reading, await readGreatestStored(sql)) };
  await moveAnchor(sql, anchor);
  const offsets = await listOffsetsAfter(sql, Number.MIN_SAFE_INTEGER);
  const offset = { fleetMs: anchor.fleetMs, offsetMs: reading.wallMs - anchor.fleetMs };
  const before = offsetAt(offsets, anchor.fleetMs);
  const isFirst = offsets.length === 0;
  const isNews = isFirst || isStep(before, offset.offsetMs);
  if (isNews) await insertOffset(sql, offset);
  return {
    anchor,
    restoreEpoch: stored.restoreEpoch,
    offsets: isNews ? [...offsets, offset] : offsets,
    steppedMs: isNews && !isFirst ? offset.offsetMs - before : 0,
  };
}

class RunningFleetClock implements OpenedFleetClock {
  readonly restoreEpoch: string;
  readonly #deps: FleetClockDeps;
  /** Fleet instant less boot clock. */
  #base: number;
  #last: number;
  #offsets: readonly ClockOffset[] = [];
  #trusted: readonly ClockOffset[] = [];
  #stepToldAt = Number.NEGATIVE_INFINITY;
  #untoldMs: number;
  readonly #listeners: ((step: { readonly byMs: number }) => void)[] = [];

  constructor(deps: FleetClockDeps, { anchor, restoreEpoch, offsets, steppedMs }: OpenedAnchor) {
    this.#deps = deps;
    this.#base = anchor.fleetMs - anchor.bootMs;
    this.#last = anchor.fleetMs;
    this.#setOffsets(offsets);
    this.#untoldMs = steppedMs;
    this.restoreEpoch = restoreEpoch;
  }

  fleet(): number {
    this.#last = Math.max(this.#last, Math.floor(this.#base + this.#deps.clock.boot()));
    return this.#last;
  }

  toWall(instant: number): number {
    return instant + offsetAt(this.#offsets, instant);
  }

  toFleet(wallMs: number): number {
    return Math.floor(wallMs) - offsetAt(this.#offsets, Number.POSITIVE_INFINITY);
  }

  toTrusted(instant: number): number {
    return instant + offsetAt(this.#trusted, instant);
  }

  trustedTime(): number {
    return this.toTrusted(this.fleet());
  }

  #setOffsets(offsets: readonly ClockOffset[]): void {
    this.#offsets = offsets;
    this.#trusted = toTrustedOffsets(offsets);
  }

  onStep(listener: (step: { readonly byMs: number }) => void): void {
    this.#listeners.push(listener);
  }

  async renew(sql: Sql): Promise<void> {
    const fleetMs = this.fleet();
    const { clock, bootId } = this.#deps;
    const reading = { fleetMs, wallMs: Math.floor(clock.wall()), bootId, bootMs: Math.floor(clock.boot()) };
    const standsAt = await moveAnchor(sql, reading);
    // Another process is ahead by what its readings differ: the clock that shows more is followed.
    if (standsAt > fleetMs) this.#base += standsAt - fleetMs;
    await this.#followOffsets(sql, { fleetMs, offsetMs: reading.wallMs - fleetMs });
    this.#tellSteps();
  }

  async #followOffsets(sql: Sql, measured: ClockOffset): Promise<void> {
    const known = this.#offsets.at(-1)?.fleetMs ?? Number.MIN_SAFE_INTEGER;
    const news = await listOffsetsAfter(sql, known);
    if (news.length > 0) this.#setOffsets([...this.#offsets, ...news]);
    const before = offsetAt(this.#offsets, Number.POSITIVE_INFINITY);
    if (!isStep(before, measured.offsetMs)) return;
    await insertOffset(sql, measured);
    this.#setOffsets([...this.#offsets, measured]);
    this.#untoldMs += measured.offsetMs - before;
  }

  /** A clock that drifts by a second per second steps at every renewal; it is told of once per minute. */
  #tellSteps(): void {
    const now = this.#deps.clock.monotonic();
    if (this.#untoldMs === 0 || now - this.#stepToldAt < TELL_STEPS_EVERY_MS) return;
    const byMs = this.#untoldMs;
    this.#untoldMs = 0;
    this.#stepToldAt = now;
    this.#deps.log.warn({ byMs }, 'the wall clock was stepped; deadlines do not follow it');
    for (const listener of this.#listeners) listener({ byMs });
  }

  wall(): number {
    return this.#deps.clock.wall();
  }

  monotonic(): number {
    return this.#deps.clock.monotonic();
  }

  boot(): number {
    return this.#deps.clock.boot();
  }

  sleep(ms: number, signal?: AbortSignal): Promise<void> {
    return this.#deps.clock.sleep(ms, signal);
  }
}
