import type { Clock } from '../../lib/clock.js';
import type { Random } from '../../lib/random.js';
import {
  LANES,
  NOTHING_ACKNOWLEDGED,
  type AgentEvent,
  type Lane,
  type SpoolReport,
} from '../../protocol/heartbeat-messages.js';
import type { DiskRoom } from './disk-room.js';
import { describe, isDiskFault, type Mended, type Store } from './durable-store.js';
import { toSpoolable, type IncomingEvent, type SpoolableEvent } from './event-intake.js';
import {
  addRecord,
  forgetDrained,
  heldBytes,
  heldIn,
  nameOperation,
  newName,
  spoolStatus,
  type NewEpoch,
} from './lane-changes.js';
import { RateGate } from './rate-gate.js';
import { droppedKey, parsePlace, recordKey } from './spool-keys.js';
import {
  createLanes,
  loadLanes,
  type CarriedRange,
  type Gap,
  type Lanes,
  type LaneStatus,
  type Segment,
} from './spool-lanes.js';
import { lossOfRecords, toldOperation, type Loss } from './spool-losses.js';
import { SpoolOrder } from './spool-order.js';
import { oldestOf, type Drop } from './spool-quota.js';
import { decodeRecord } from './spool-record.js';
import { droppedUntaken, removalOf, removeThrough, type Removal } from './spool-removal.js';
import { SpoolRoom, type Shrinking } from './spool-room.js';
import { SpoolWriter } from './spool-writer.js';

export type { CarriedRange };

export interface ReadBatch {
  readonly lane: Lane;
  readonly epoch: string;
  readonly events: readonly AgentEvent[];
}

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
  /** Many events being handed in at once: their sequences must stay consecutive. */
  readonly #bulks = new Map<Lane, Promise<unknown>>();
  #maxBytes: number;
  #refused: Partial<Record<Lane, number>> = {};
  /** Ranges of stored reports that are no more. */
  readonly #unsettled: CarriedRange[] = [];

  private constructor(options: SpoolOptions, lanes: Lanes, epoch: NewEpoch) {
    const { store, clock, random, maxMegabytes, room = UNLIMITED } = options;
    this.#store = store;
    this.#clock = clock;
    this.#random = random;
    this.#room = new SpoolRoom(room);
    this.#writer = new SpoolWriter(options, lanes, epoch);
    this.#maxBytes = maxMegabytes * BYTES_PER_MEGABYTE;
    this.#gate = new RateGate(clock);
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
      for (const { epoch, acknowledged } of known[lane].segments) await this.#forget(lane, epoch, acknowledged);
    await this.#tell(losses);
    if (this.#unsettled.length > 0) await this.#settle();
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

  /**
   * The oldest unacknowledged epoch of every lane, lanes in order of urgency, at most `maxEvents` and `maxBytes` in all, and
   * of newly produced ones what the manager's limit has places for. Nothing of it is dropped until `carry`, or the next `read`.
   */
  read(limits: { readonly maxEvents: number; readonly maxBytes: number }): Promise<ReadBatch[]> {
    return this.#exclusively(async () => {
      await this.#writer.closeGaps();
      this.#endReading();
      const batches: ReadBatch[] = [];
      // While nothing can be written the report is not stored either.
      const bytes = this.#store.failure ? limits.maxBytes : this.#room.readBytes(limits.maxBytes);
      const left = { events: limits.maxEvents, bytes };
      for (const lane of LANES) {
        const { segments, isInDoubt } = this.#lanes[lane];
        const segment = segments.find(({ count }) => count > 0);
        const events = segment && !isInDoubt ? await this.#readSegment(lane, segment, left) : [];
        batches.push({ lane, epoch: segment?.epoch ?? this.#writer.epoch.name, events });
      }
      return batches;
    });
  }

  async #readSegment(
    lane: Lane,
    segment: Segment,
    left: { events: number; bytes: number },
  ): Promise<readonly AgentEvent[]> {
    const events: AgentEvent[] = [];
    if (left.events <= 0 || left.bytes <= 0) return events;
    const range = {
      gte: recordKey(lane, segment.ordinal, segment.acknowledged + 1),
      lte: recordKey(lane, segment.ordinal, segment.next - 1),
    };
    const damaged: { readonly key: string; readonly value: string }[] = [];
    await this.#store.scan(range, (key, value) => {
      const bytes = Buffer.byteLength(value) + 1;
      if (bytes > left.bytes) return false;
      const event = decodeRecord(value);
      // What is lost is counted before what comes behind it is sent.
      if (!event) return !this.#store.failure && damaged.push({ key, value }) > 0;
      const { ordinal } = segment;
      if (!this.#gate.admits({ lane, ordinal, sequence: event.sequence }, event.occurredAt)) return false;
      left.bytes -= bytes;
      left.events -= 1;
      events.push(event);
      return left.events > 0;
    });
    segment.readThrough = events.at(-1)?.sequence;
    if (damaged.length > 0) await this.#takeOut(lane, segment, damaged);
    return events;
  }

  /** Records that cannot be read are lost, and counted. */
  async #takeOut(lane: Lane, segment: Segment, damaged: readonly { key: string; value: string }[]): Promise<void> {
    const sequences = damaged.map(({ key }) => parsePlace(key)?.sequence ?? 0);
    const loss = await lossOfRecords(this.#store, { lane, ...segment }, sequences);
    await this.#writer.write({
      lost: { gap: loss.gap, reason: 'damaged' },
      operations: [toldOperation(loss), ...damaged.map(({ key }) => removalOf(key))],
      lane: 'control',
      events: [],
    });
    for (const { key, value } of damaged)
      addRecord(this.#lanes[lane], segment, -(key.length + Buffer.byteLength(value)));
  }

  /**
   * Tells which records a report carries. Those of one that is stored are no longer counted as dropped when their lane must
   * shrink.
   */
  carry(ranges: readonly CarriedRange[], { isStored }: { readonly isStored: boolean }): void {
    this.#endReading();
    for (const { lane, epoch, through } of ranges) {
      const segment = this.#segmentOf(lane, epoch);
      if (!segment) continue;
      segment.sentThrough = Math.max(segment.sentThrough, through);
      if (isStored) segment.carriedThrough = Math.max(segment.carriedThrough, through);
    }
  }

  #endReading(): void {
    for (const lane of LANES) for (const segment of this.#lanes[lane].segments) segment.readThrough = undefined;
  }

  #exclusively<T>(action: () => Promise<T>): Promise<T> {
    return this.#order.beside(() => this.#order.exclusively(LANES, action));
  }

  #segmentOf(lane: Lane, epoch: string): Segment | undefined {
    return this.#lanes[lane].segments.find((segment) => segment.epoch === epoch);
  }

  /**
   * Forgets what the manager has stored. A position beyond what was ever sent counts only up to there. Where the disk cannot
   * be written it throws, and is forgotten all the same: from the disk with the next `reopen`.
   */
  acknowledge(lane: Lane, epoch: string, position: number): Promise<void> {
    return this.#order.beside(() =>
      this.#forget(lane, epoch, Math.min(position, this.#segmentOf(lane, epoch)?.sentThrough ?? NOTHING_ACKNOWLEDGED)),
    );
  }

  #forget(lane: Lane, epoch: string, through: number): Promise<void> {
    return this.#order.exclusively([lane], async () => {
      const segment = this.#segmentOf(lane, epoch);
      if (!segment || through <= segment.acknowledged) return;
      const removed = await this.#removal(lane, segment, through);
      removed.apply();
      // Not synced: after a power cut the records are sent once more and discarded by the manager's position.
      await this.#store.write(removed.operations, { durable: false });
      removed.end();
    });
  }

  #removal(lane: Lane, segment: Segment, through: number): Promise<Removal> {
    const isCurrent = segment.ordinal === this.#writer.epoch.ordinal;
    return removeThrough(this.#store, { lane, state: this.#lanes[lane], segment, through, isCurrent });
  }

  /** Gives up records that a refused report carried: deleted and counted in gap events, both or neither. */
  async giveUp(ranges: readonly CarriedRange[], reason: string): Promise<void> {
    for (const { lane, epoch, from, through, count } of ranges.filter((range) => range.count > 0))
      await this.#order.beside(() =>
        this.#order.exclusively([lane], async () => {
          const segment = this.#segmentOf(lane, epoch);
          if (!segment || through <= segment.acknowledged) return;
          await this.#lose(segment, { lane, epoch, from, to: through, count }, reason);
        }),
      );
  }

  async #lose(segment: Segment, gap: Gap, reason: string): Promise<void> {
    const { operations, apply, end } = await this.#removal(gap.lane, segment, gap.to);
    await this.#writer.write({ lost: { gap, reason }, operations, lane: 'control', events: [] });
    apply();
    end();
  }

  /**
   * The stored report is no more: what it carried and the manager did not take is counted again when it must go, and what of
   * it went already is counted now. Throws as the disk does; then `reopen` does it.
   */
  settle(ranges: readonly CarriedRange[]): Promise<void> {
    this.#unsettled.push(...ranges);
    return this.#order.beside(() => this.#settle());
  }

  #settle(): Promise<void> {
    return this.#order.exclusively(LANES, async () => {
      for (let range = this.#unsettled[0]; range; range = this.#unsettled[0]) {
        const { lane, epoch, through } = range;
        const segment = this.#segmentOf(lane, epoch);
        const gap = segment && droppedUntaken(segment, range);
        if (gap) await this.#lose(segment, gap, 'quota');
        if (segment && segment.carriedThrough <= through) segment.carriedThrough = segment.acknowledged;
        this.#unsettled.shift();
      }
    });
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
