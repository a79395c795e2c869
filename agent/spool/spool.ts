import type { Clock } from '../../lib/clock.js';
import type { Random } from '../../lib/random.js';
import { LANES, type Lane, type SpoolReport } from '../../protocol/heartbeat-messages.js';
import type { DiskRoom } from './disk-room.js';
import { describe, isDiskFault, type Store } from './durable-store.js';
import { toSpoolable, type IncomingEvent, type SpoolableEvent } from './event-intake.js';
import type { Mended } from './findings.js';
import {
  forgetDrained,
  heldBytes,
  heldIn,
  nameOperation,
  newName,
  spoolStatus,
  type NewEpoch,
} from './lane-changes.js';
import { RateGate } from './rate-gate.js';
import { SpoolDrain, type ReadBatch, type ReadLimits } from './spool-drain.js';
import { droppedKey } from './spool-keys.js';
import { createLanes, loadLanes, type CarriedRange, type Gap, type Lanes, type LaneStatus } from './spool-lanes.js';
import { toldOperation, type Loss } from './spool-losses.js';
import { SpoolOrder } from './spool-order.js';
import { oldestOf, type Drop } from './spool-quota.js';
import { removalOf } from './spool-removal.js';
import { SpoolRoom, type Shrinking } from './spool-room.js';
import { SpoolWriter } from './spool-writer.js';

export type { CarriedRange, ReadBatch };

export interface AppendedRange {
  readonly lane: Lane;
  readonly epoch: string;
  readonly first: number;
  readonly last: number;
}

export interface SpoolStatus {
  readonly bytes: number;
  readonly lanes: Readonly<Record<Lane, LaneStatus>>;
  /** By the last orders; null while none came, or from a manager that has no limit. */
  readonly eventRateLimitPerMinute: number | null;
  /** Lanes whose oldest record waits for that limit. */
  readonly heldBack: readonly Lane[];
  /** Why nothing is accepted at present; null where all is well. */
  readonly failure: string | null;
}

const BYTES_PER_MEGABYTE = 1024 * 1024;
const PART_BYTES = 512 * 1024;
const PART_RECORDS = 1000;
/** What a record takes beside its event. */
const RECORD_OVERHEAD_BYTES = 64;
const UNLIMITED: DiskRoom = { allowance: () => Number.POSITIVE_INFINITY };

/** What was done to the database, if it could not be read; where it was begun anew, what was lost with it. */
export interface Reopened {
  readonly mended: Mended | undefined;
  readonly lost?: readonly Gap[];
}

/** Of many events handed in at once some were stored before the disk would not have the rest. */
export class PartlyStored extends Error {
  constructor(
    readonly stored: AppendedRange,
    count: number,
    cause: unknown,
  ) {
    super(`Only ${stored.last - stored.first + 1} of ${count} were stored`, { cause });
    this.name = 'PartlyStored';
  }
}

export interface SpoolOptions {
  readonly store: Store;
  readonly clock: Clock;
  readonly random: Random;
  readonly maxMegabytes: number;
  /** What the disk allows; unlimited unless given. */
  readonly room?: DiskRoom;
  /** Of the stored report that an earlier process left. */
  readonly carried?: readonly CarriedRange[] | undefined;
}

/** The durable, bounded queue of events: see the folder's invariants in agent/README.md. */
export class Spool {
  readonly #store: Store;
  readonly #clock: Clock;
  readonly #random: Random;
  readonly #room: SpoolRoom;
  readonly #writer: SpoolWriter;
  readonly #order = new SpoolOrder();
  readonly #gate: RateGate;
  readonly #drain: SpoolDrain;
  /** Many events being handed in at once: their sequences must stay consecutive. */
  readonly #bulks = new Map<Lane, Promise<unknown>>();
  #maxBytes: number;
  #refused: Partial<Record<Lane, number>> = {};

  private constructor(options: SpoolOptions, lanes: Lanes, epoch: NewEpoch) {
    const { store, clock, random, maxMegabytes, room = UNLIMITED } = options;
    this.#store = store;
    this.#clock = clock;
    this.#random = random;
    this.#room = new SpoolRoom(room);
    this.#writer = new SpoolWriter(options, lanes, epoch);
    this.#maxBytes = maxMegabytes * BYTES_PER_MEGABYTE;
    this.#gate = new RateGate(clock);
    const shared = { writer: this.#writer, order: this.#order, gate: this.#gate, room: this.#room };
    this.#drain = new SpoolDrain({ store, ...shared });
  }

  /** Begins a new epoch over what earlier processes left. */
  static async open(options: SpoolOptions): Promise<Spool> {
    const { store, random, carried = [] } = options;
    const { lanes, lastOrdinal, losses, renamed } = await loadLanes(store, { nameOf: () => newName(random) });
    const operations = [...forgetDrained(lanes, carried), ...renamed.map(nameOperation)];
    const spool = new Spool(options, lanes, { ordinal: lastOrdinal + 1, name: newName(random) });
    spool.carry(carried, { isStored: true });
    try {
      if (operations.length > 0) await store.write(operations, { durable: renamed.length > 0 });
      await spool.#tell(losses);
    } catch (error) {
      // A disk that can be read and not written keeps no agent from beating: `reopen` does it again.
      if (!isDiskFault(error)) throw error;
    }
    return spool;
  }

  /**
   * Opens the database again after a failure, while nobody writes: the counts follow what is really on disk, and what is gone
   * is told. A new epoch begins, so that sequences of writes that failed are no holes. Throws where the disk fails still.
   */
  reopen(): Promise<Reopened> {
    return this.#order.alone(async () => {
      const mended = await this.#store.recover(this.#clock);
      if (mended?.setAside !== undefined) return { mended, lost: await this.#reset() };
      await this.#reload();
      return { mended };
    });
  }

  async #reload(): Promise<void> {
    const known = this.#lanes;
    const nameOf = (): string => newName(this.#random);
    const { lanes, lastOrdinal, losses, renamed, refused } = await loadLanes(this.#store, { nameOf, known });
    this.#writer.begin(lanes, { name: nameOf(), behind: lastOrdinal });
    const operations = [...renamed.map(nameOperation), ...refused.map(removalOf)];
    if (operations.length > 0) await this.#store.write(operations, { durable: true });
    for (const lane of LANES)
      for (const { epoch, acknowledged } of known[lane].segments) await this.#drain.forget(lane, epoch, acknowledged);
    await this.#tell(losses);
    await this.#drain.settleRest();
  }

  /** Counts records that are gone although nobody took them out. */
  async #tell(losses: readonly Loss[]): Promise<void> {
    for (const loss of losses)
      await this.#writer.write({
        lost: { gap: loss.gap, reason: 'damaged' },
        operations: [toldOperation(loss)],
        lane: 'control',
        events: [],
      });
  }

  /** What a stopped agent's spool holds; begins no epoch and writes nothing. */
  static async inspect(store: Store): Promise<SpoolStatus> {
    const { lanes } = await loadLanes(store, { nameOf: () => 'unknown' });
    return { ...spoolStatus(lanes, undefined), eventRateLimitPerMinute: null, heldBack: [], failure: null };
  }

  /** Nothing is left. Answers what was lost, by lane and epoch. */
  async #reset(): Promise<readonly Gap[]> {
    const lost = heldIn(this.#lanes);
    const lanes = createLanes();
    for (const lane of LANES) lanes[lane].dropped = this.#lanes[lane].dropped;
    for (const { lane, count } of lost) lanes[lane].dropped += count;
    this.#writer.begin(lanes, { name: newName(this.#random) });
    const counts = LANES.map((lane) => [droppedKey(lane), String(lanes[lane].dropped)] as const);
    await this.#store.write(
      counts.map(([key, value]) => ({ type: 'put', key, value })),
      { durable: true },
    );
    return lost;
  }

  get #lanes(): Lanes {
    return this.#writer.lanes;
  }

  setMaxMegabytes(maxMegabytes: number): void {
    this.#maxBytes = maxMegabytes * BYTES_PER_MEGABYTE;
  }

  /** The manager's limit on newly produced events; undefined for none. */
  setEventRate(perMinute: number | undefined): void {
    this.#gate.setPerMinute(perMinute);
  }

  /**
   * Appends `count` copies; resolves when all are on disk. Their sequences are consecutive. Throws `request-invalid`,
   * `NoRoom`, what the disk throws, and `PartlyStored`.
   */
  async append(lane: Lane, event: IncomingEvent, count = 1): Promise<AppendedRange> {
    const spoolable = toSpoolable(event, this.#clock.wall());
    while (this.#bulks.has(lane)) await this.#bulks.get(lane);
    const bytes = sizeOf(spoolable);
    const fitting = Math.floor(this.#room.partBytes(PART_BYTES) / bytes);
    const part = Math.max(1, Math.min(PART_RECORDS, fitting));
    const run = this.#appendInParts(lane, spoolable, { count, part, bytes });
    if (count <= part) return run;
    this.#bulks.set(
      lane,
      run.catch(() => undefined),
    );
    try {
      return await run;
    } finally {
      this.#bulks.delete(lane);
    }
  }

  async #appendInParts(
    lane: Lane,
    event: SpoolableEvent,
    { count, part, bytes }: { readonly count: number; readonly part: number; readonly bytes: number },
  ): Promise<AppendedRange> {
    let stored = 0;
    let range: AppendedRange | undefined;
    try {
      while (stored < count) {
        const events = Array.from({ length: Math.min(part, count - stored) }, () => event);
        const next = await this.#order.beside(() => this.#appendPart(lane, events, { bytes, epoch: range?.epoch }));
        range = { ...next, first: range?.first ?? next.first };
        stored += events.length;
      }
    } catch (error) {
      this.#refused[lane] = (this.#refused[lane] ?? 0) + count - stored;
      throw range ? new PartlyStored(range, count, error) : error;
    }
    if (!range) throw new RangeError('Nothing to append');
    return range;
  }

  /** Tells how many were not accepted since it was told last, for the disk would not have them. Throws as `append`. */
  async tellRefused(toEvent: (refused: Readonly<Partial<Record<Lane, number>>>) => IncomingEvent): Promise<void> {
    const refused = this.#refused;
    const event = toSpoolable(toEvent(refused), this.#clock.wall());
    this.#refused = {};
    try {
      await this.#order.beside(() => this.#appendPart('control', [event], { bytes: sizeOf(event) }));
    } catch (error) {
      for (const lane of LANES) {
        const count = (refused[lane] ?? 0) + (this.#refused[lane] ?? 0);
        if (count > 0) this.#refused[lane] = count;
      }
      throw error;
    }
  }

  /** What must go for them to have room goes in the same write: it is dropped if they are stored, and not else. */
  async #appendPart(
    lane: Lane,
    events: readonly SpoolableEvent[],
    { bytes, epoch = this.#writer.epoch.name }: { readonly bytes: number; readonly epoch?: string | undefined },
  ): Promise<AppendedRange> {
    if (epoch !== this.#writer.epoch.name) throw new Error('The spool was opened anew meanwhile');
    const shrinking = (): readonly Shrinking[] =>
      this.#room.plan({
        held: heldBytes(this.#lanes),
        into: lane,
        incoming: bytes * events.length,
        maxBytes: this.#maxBytes,
      });
    if (shrinking().length === 0) return { lane, ...(await this.#writer.write({ lane, events })) };
    return this.#order.exclusively(LANES, async () => {
      const drops: Drop[] = [];
      for (const { lane: of, toBytes } of shrinking())
        drops.push(...(await oldestOf(this.#store, of, { state: this.#lanes[of], toBytes })));
      return { lane, ...(await this.#writer.write({ drops, lane, events })) };
    });
  }

  // What leaves it: see `SpoolDrain`.

  read(limits: ReadLimits): Promise<ReadBatch[]> {
    return this.#drain.read(limits);
  }

  carry(ranges: readonly CarriedRange[], how: { readonly isStored: boolean }): void {
    this.#drain.carry(ranges, how);
  }

  acknowledge(lane: Lane, epoch: string, position: number): Promise<void> {
    return this.#drain.acknowledge(lane, epoch, position);
  }

  giveUp(ranges: readonly CarriedRange[], reason: string): Promise<void> {
    return this.#drain.giveUp(ranges, reason);
  }

  settle(ranges: readonly CarriedRange[]): Promise<void> {
    return this.#drain.settle(ranges);
  }

  /** Whether any lane holds records that may go now. */
  hasBacklog(): boolean {
    return LANES.some((lane) => this.#lanes[lane].segments.some(({ count }) => count > 0) && !this.#gate.holds(lane));
  }

  /** Why nothing is accepted at present. */
  get failure(): Error | undefined {
    return this.#store.failure ?? this.#room.refused;
  }

  /** Whether the disk has room again for what was refused for want of it. */
  hasRoom(): boolean {
    return this.#room.isBack(heldBytes(this.#lanes));
  }

  status(): SpoolStatus {
    const eventRateLimitPerMinute = this.#gate.perMinute ?? null;
    const { failure } = this;
    return {
      ...spoolStatus(this.#lanes, this.#writer.epoch.name),
      eventRateLimitPerMinute,
      heldBack: this.#gate.held,
      failure: failure ? describe(failure) : null,
    };
  }

  /** What reports tell of it. */
  report(): SpoolReport {
    const { bytes, lanes, heldBack } = this.status();
    return {
      bytes,
      lanes: LANES.map((lane) => {
        const { waiting, dropped } = lanes[lane];
        return { lane, waiting, dropped, isHeldBack: heldBack.includes(lane) };
      }),
    };
  }
}

function sizeOf(event: SpoolableEvent): number {
  return JSON.stringify(event).length + RECORD_OVERHEAD_BYTES;
}
