import type { Clock } from '../../lib/clock.js';
import type { Random } from '../../lib/random.js';
import {
  LANES,
  NOTHING_ACKNOWLEDGED,
  type AgentEvent,
  type Lane,
  type SpoolReport,
} from '../../protocol/heartbeat-messages.js';
import { describe, isDiskFault, type Store, type StoreOperation } from './durable-store.js';
import { toSpoolable, type IncomingEvent, type SpoolableEvent } from './event-intake.js';
import { droppedKey, epochKey, parsePlace, recordKey } from './spool-keys.js';
import { createLanes, loadLanes, type Gap, type LaneState, type LaneStatus, type Segment } from './spool-lanes.js';
import type { DiskRoom } from './disk-room.js';
import {
  addRecord,
  exclusively,
  forgetDrained,
  heldIn,
  keepCarried,
  nameOperation,
  newName,
  positionOperations,
  spoolStatus,
  type NewEpoch,
} from './lane-changes.js';
import { RateGate } from './rate-gate.js';
import { lossOfRecords, tailLosses, toldOperation, type Loss } from './spool-losses.js';
import { continues, dropOldest, gapEvent } from './spool-quota.js';
import { decodeRecord, encodeRecord } from './spool-record.js';

/** Records of one lane and epoch that a stored report carries. */
export interface CarriedRange {
  readonly lane: Lane;
  readonly epoch: string;
  readonly from: number;
  readonly through: number;
  readonly count: number;
}

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

/** Shares of `spoolMaxMegabytes`. */
export const LANE_SHARES: Readonly<Record<Lane, number>> = { control: 0.1, detection: 0.4, log: 0.35, metric: 0.15 };
const BYTES_PER_MEGABYTE = 1024 * 1024;
const CHUNK_BYTES = 512 * 1024;
const CHUNK_RECORDS = 1000;
const UNLIMITED: DiskRoom = { allowance: () => Number.POSITIVE_INFINITY };

export interface SpoolOptions {
  readonly store: Store;
  readonly clock: Clock;
  readonly random: Random;
  readonly maxMegabytes: number;
  /** What the disk allows; unlimited unless given. */
  readonly room?: DiskRoom;
}

/** The durable, bounded queue of events: see the folder's invariants in agent/README.md. */
export class Spool {
  readonly #store: Store;
  readonly #clock: Clock;
  readonly #random: Random;
  readonly #room: DiskRoom;
  #epoch: { readonly ordinal: number; readonly name: string; stored: boolean };
  #lanes: Record<Lane, LaneState>;
  #maxBytes: number;
  readonly #gate: RateGate;
  /** What is handed in meanwhile waits: the counts are made anew. */
  #reloading: Promise<void> | undefined;
  #refused: Partial<Record<Lane, number>> = {};

  private constructor(
    { store, clock, random, maxMegabytes, room }: SpoolOptions,
    lanes: Record<Lane, LaneState>,
    epoch: NewEpoch,
  ) {
    this.#store = store;
    this.#clock = clock;
    this.#random = random;
    this.#room = room ?? UNLIMITED;
    this.#lanes = lanes;
    this.#maxBytes = maxMegabytes * BYTES_PER_MEGABYTE;
    this.#epoch = { ...epoch, stored: false };
    this.#gate = new RateGate(clock);
  }

  /** Begins a new epoch over what earlier processes left. */
  static async open(options: SpoolOptions): Promise<Spool> {
    const { store, random } = options;
    const { lanes, lastOrdinal, losses, renamed } = await loadLanes(store, () => newName(random));
    const operations = [...forgetDrained(lanes), ...renamed.map(nameOperation)];
    const spool = new Spool(options, lanes, { ordinal: lastOrdinal + 1, name: newName(random) });
    try {
      if (operations.length > 0) await store.write(operations, { durable: renamed.length > 0 });
      await spool.#tell(losses);
    } catch (error) {
      // A disk that can be read and not written keeps no agent from beating: `reload` does it again.
      if (!isDiskFault(error)) throw error;
    }
    return spool;
  }

  /**
   * After the database was opened again: the counts follow what is really on disk, and what is gone is told. A new epoch
   * begins, so that sequences of writes that failed are no holes.
   */
  async reload(): Promise<void> {
    const run = this.#reload();
    this.#reloading = run.catch(() => undefined);
    try {
      await run;
    } finally {
      this.#reloading = undefined;
    }
  }

  async #reload(): Promise<void> {
    this.#epoch = { ordinal: this.#epoch.ordinal + 1, name: newName(this.#random), stored: false };
    const { lanes, losses, renamed } = await loadLanes(this.#store, () => newName(this.#random));
    if (renamed.length > 0) await this.#store.write(renamed.map(nameOperation), { durable: true });
    const tails = LANES.flatMap((lane) =>
      tailLosses(lane, { known: this.#lanes[lane], fresh: lanes[lane], holes: losses }),
    );
    for (const lane of LANES) keepCarried(lanes[lane], this.#lanes[lane]);
    this.#lanes = lanes;
    await this.#tell([...losses, ...tails]);
  }

  /** Counts records that are gone although nobody took them out. */
  async #tell(losses: readonly Loss[]): Promise<void> {
    for (const loss of losses) {
      const { lane, count } = loss.gap;
      const state = this.#lanes[lane];
      state.dropped += count;
      const gap = toSpoolable(gapEvent(loss.gap, 'damaged'), this.#clock.wall());
      const segment = this.#currentSegment('control');
      const operations = [
        toldOperation(loss),
        { type: 'put' as const, key: droppedKey(lane), value: String(state.dropped) },
        ...this.#recordOperations('control', segment, [gap]),
      ];
      await this.#writeRecords('control', segment, operations);
      this.#epoch.stored = true;
    }
  }

  /** What a stopped agent's spool holds; begins no epoch and writes nothing. */
  static async inspect(store: Store): Promise<SpoolStatus> {
    const { lanes } = await loadLanes(store, () => 'unknown');
    return { ...spoolStatus(lanes, undefined), eventRateLimitPerMinute: null, heldBack: [], failure: null };
  }

  /** After the database was set aside: nothing is left, a new epoch begins. Answers what was lost, by lane and epoch. */
  reset(random: Random): Gap[] {
    const lost = heldIn(this.#lanes);
    const dropped = LANES.map((lane) => this.#lanes[lane].dropped);
    this.#lanes = createLanes();
    LANES.forEach((lane, index) => (this.#lanes[lane].dropped = dropped[index] ?? 0));
    for (const gap of lost) this.#lanes[gap.lane].dropped += gap.count;
    this.#epoch = { ordinal: this.#epoch.ordinal + 1, name: newName(random), stored: false };
    return lost;
  }

  setMaxMegabytes(maxMegabytes: number): void {
    this.#maxBytes = maxMegabytes * BYTES_PER_MEGABYTE;
  }

  /** The manager's limit on newly produced events; undefined for none. */
  setEventRate(perMinute: number | undefined): void {
    this.#gate.setPerMinute(perMinute);
  }

  /** Appends `count` copies; resolves when all are on disk. Their sequences are consecutive. Throws `request-invalid`. */
  async append(lane: Lane, event: IncomingEvent, count = 1): Promise<AppendedRange> {
    const spoolable = toSpoolable(event, this.#clock.wall());
    try {
      while (this.#reloading) await this.#reloading;
      return await this.#append(lane, spoolable, count);
    } catch (error) {
      this.#refused[lane] = (this.#refused[lane] ?? 0) + count;
      throw error;
    }
  }

  /** How many were not accepted since this was asked last, for the disk would not have them. */
  takeRefused(): Partial<Record<Lane, number>> {
    const refused = this.#refused;
    this.#refused = {};
    return refused;
  }

  async #append(lane: Lane, spoolable: SpoolableEvent, count: number): Promise<AppendedRange> {
    const state = this.#lanes[lane];
    while (state.bulk) await state.bulk;
    if (count <= CHUNK_RECORDS) return this.#appendChunk(lane, spoolable, count);
    const run = this.#appendInChunks(lane, spoolable, count);
    state.bulk = run.then(
      () => undefined,
      () => undefined,
    );
    try {
      return await run;
    } finally {
      state.bulk = undefined;
    }
  }

  async #appendInChunks(lane: Lane, event: SpoolableEvent, count: number): Promise<AppendedRange> {
    const chunkBytes = Math.min(CHUNK_BYTES, this.#room.allowance(0) / 8);
    const perChunk = Math.max(1, Math.min(CHUNK_RECORDS, Math.floor(chunkBytes / JSON.stringify(event).length)));
    const ranges: AppendedRange[] = [];
    for (let left = count; left > 0; left -= perChunk)
      ranges.push(await this.#appendChunk(lane, event, Math.min(left, perChunk)));
    const [first] = ranges;
    const last = ranges.at(-1);
    if (!first || !last) throw new RangeError('Nothing to append');
    return { ...first, last: last.last };
  }

  async #appendChunk(lane: Lane, event: SpoolableEvent, count: number): Promise<AppendedRange> {
    const estimated = (JSON.stringify(event).length + 64) * count;
    await this.#makeRoom(lane, estimated);
    await this.#fitDisk(lane, estimated);
    const segment = this.#currentSegment(lane);
    const first = segment.next;
    const operations = this.#recordOperations(
      lane,
      segment,
      Array.from({ length: count }, () => event),
    );
    await this.#writeRecords(lane, segment, operations);
    this.#epoch.stored = true;
    return { lane, epoch: segment.epoch, first, last: first + count - 1 };
  }

  /** What could not be written was not accepted; its sequences stay unused. */
  async #writeRecords(lane: Lane, segment: Segment, operations: readonly StoreOperation[]): Promise<void> {
    try {
      await this.#store.write(operations, { durable: true });
    } catch (error) {
      for (const operation of operations)
        if (operation.type === 'put' && operation.key.startsWith('r!'))
          addRecord(this.#lanes[lane], segment, -(operation.key.length + Buffer.byteLength(operation.value)));
      throw error;
    }
  }

  /** Takes the next sequences; must be followed by the write in the same turn, so that order of sequence is order of write. */
  #recordOperations(lane: Lane, segment: Segment, events: readonly SpoolableEvent[]): StoreOperation[] {
    const operations: StoreOperation[] = [];
    if (!this.#epoch.stored) operations.push({ type: 'put', key: epochKey(segment.ordinal), value: segment.epoch });
    for (const event of events) {
      const key = recordKey(lane, segment.ordinal, segment.next);
      const value = encodeRecord({ sequence: segment.next, ...event });
      operations.push({ type: 'put', key, value });
      segment.next += 1;
      addRecord(this.#lanes[lane], segment, key.length + Buffer.byteLength(value));
    }
    return operations;
  }

  #currentSegment(lane: Lane): Segment {
    const state = this.#lanes[lane];
    const last = state.segments.at(-1);
    if (last?.ordinal === this.#epoch.ordinal) return last;
    const segment: Segment = {
      ordinal: this.#epoch.ordinal,
      epoch: this.#epoch.name,
      next: 0,
      acknowledged: NOTHING_ACKNOWLEDGED,
      carriedThrough: NOTHING_ACKNOWLEDGED,
      bytes: 0,
      count: 0,
    };
    state.segments.push(segment);
    return segment;
  }

  async #makeRoom(lane: Lane, incoming: number): Promise<void> {
    const state = this.#lanes[lane];
    const target = (): number => this.#maxBytes * LANE_SHARES[lane] - incoming;
    if (state.bytes <= target() || state.bytes === 0) return;
    await exclusively(state, async () => {
      if (state.bytes > target()) await this.#trim(lane, target());
    });
  }

  /** What the disk allows: lanes give up what is beyond their share of it, the least urgent first. */
  async #fitDisk(into: Lane, incoming: number): Promise<void> {
    const allowance = this.#room.allowance(incoming);
    const excess = (): number => LANES.reduce((sum, lane) => sum + this.#lanes[lane].bytes, incoming - allowance);
    for (const lane of LANES.toReversed()) {
      if (excess() <= 0) return;
      const state = this.#lanes[lane];
      const share = Math.max(0, allowance * LANE_SHARES[lane] - (lane === into ? incoming : 0));
      const target = (): number => Math.max(share, state.bytes - excess());
      if (state.bytes > target()) await exclusively(state, () => this.#trim(lane, target()));
    }
  }

  /** Drops to a tenth below the target, so that a flood costs few gap events. */
  async #trim(lane: Lane, target: number): Promise<void> {
    const dropped = await dropOldest(this.#store, lane, {
      state: this.#lanes[lane],
      toBytes: Math.max(0, target * 0.9),
    });
    const gaps = dropped.gaps.flatMap((gap) => this.#gapOperations(gap));
    await this.#store.write([...dropped.operations, ...gaps], { durable: true });
    if (gaps.length > 0) this.#epoch.stored = true;
  }

  /** Counts dropped records in a gap event; an unsent one that ends where this begins is extended. */
  #gapOperations(gap: Gap): StoreOperation[] {
    const control = this.#lanes.control;
    const open = control.openGaps[gap.lane];
    const segment = this.#currentSegment('control');
    const before = open && continues(open, { gap, segment }) ? open : undefined;
    const gapped = before ? { ...before.gap, to: gap.to, count: before.gap.count + gap.count } : gap;
    const event = toSpoolable(gapEvent(gapped), this.#clock.wall());
    const place = { ordinal: segment.ordinal, sequence: before?.sequence ?? segment.next };
    const key = recordKey('control', place.ordinal, place.sequence);
    const value = encodeRecord({ sequence: place.sequence, ...event });
    const bytes = key.length + Buffer.byteLength(value);
    control.openGaps[gap.lane] = { ...place, gap: gapped, bytes };
    if (before?.sequence === undefined) return this.#recordOperations('control', segment, [event]);
    control.bytes += bytes - before.bytes;
    segment.bytes += bytes - before.bytes;
    return [{ type: 'put', key, value }];
  }

  /**
   * The oldest unacknowledged epoch of every lane, lanes in order of urgency, at most `maxEvents` and `maxBytes` in all, and
   * of newly produced ones what the manager's limit has places for.
   */
  async read(limits: { readonly maxEvents: number; readonly maxBytes: number }): Promise<ReadBatch[]> {
    await this.#closeGaps();
    const batches: ReadBatch[] = [];
    const left = { events: limits.maxEvents, bytes: Math.min(limits.maxBytes, this.#room.allowance(0) / 4) };
    for (const lane of LANES) {
      const segment = this.#lanes[lane].segments.find(({ count }) => count > 0);
      if (!segment) {
        batches.push({ lane, epoch: this.#epoch.name, events: [] });
        continue;
      }
      batches.push({ lane, epoch: segment.epoch, events: await this.#readSegment(lane, segment, left) });
    }
    return batches;
  }

  /** What is about to be read is not extended any more: a count that a report does not carry would be lost with it. */
  async #closeGaps(): Promise<void> {
    const { openGaps } = this.#lanes.control;
    if (Object.keys(openGaps).length === 0) return;
    for (const lane of LANES) delete openGaps[lane];
    // Behind those that are being written.
    await this.#store.write([], { durable: false });
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
      lte: recordKey(lane, segment.ordinal, segment.next),
    };
    const damaged: { readonly key: string; readonly value: string }[] = [];
    await this.#store.scan(range, (key, value) => {
      const bytes = Buffer.byteLength(value) + 1;
      if (bytes > left.bytes) return false;
      const event = decodeRecord(value);
      if (!event) return damaged.push({ key, value }) > 0;
      const { ordinal } = segment;
      if (!this.#gate.admits({ lane, ordinal, sequence: event.sequence }, event.occurredAt)) return false;
      left.bytes -= bytes;
      left.events -= 1;
      events.push(event);
      return left.events > 0;
    });
    if (damaged.length > 0) await this.#takeOut(lane, segment, damaged);
    return events;
  }

  /** Records that cannot be read are lost, and counted. */
  async #takeOut(lane: Lane, segment: Segment, damaged: readonly { key: string; value: string }[]): Promise<void> {
    await this.#store.write(
      damaged.map(({ key }) => ({ type: 'del', key })),
      { durable: true },
    );
    const state = this.#lanes[lane];
    for (const { key, value } of damaged) addRecord(state, segment, -(key.length + Buffer.byteLength(value)));
    const sequences = damaged.map(({ key }) => parsePlace(key)?.sequence ?? 0);
    await this.#tell([await lossOfRecords(this.#store, { lane, ...segment }, sequences)]);
  }

  /** Tells which records a stored report carries: they are no longer counted as dropped when their lane must shrink. */
  carry(ranges: readonly CarriedRange[]): void {
    for (const range of ranges) {
      const segment = this.#lanes[range.lane].segments.find(({ epoch }) => epoch === range.epoch);
      if (segment) segment.carriedThrough = Math.max(segment.carriedThrough, range.through);
    }
  }

  /** Forgets what the manager has stored. A position beyond what was ever sent counts only up to there. */
  async acknowledge(lane: Lane, epoch: string, position: number): Promise<void> {
    const state = this.#lanes[lane];
    const segment = state.segments.find((candidate) => candidate.epoch === epoch);
    const through = segment ? Math.min(position, segment.carriedThrough) : NOTHING_ACKNOWLEDGED;
    if (!segment || through <= segment.acknowledged) return;
    await exclusively(state, () => this.#forget(lane, segment, through));
  }

  async #forget(lane: Lane, segment: Segment, through: number): Promise<void> {
    const state = this.#lanes[lane];
    const operations: StoreOperation[] = [];
    const range = {
      gte: recordKey(lane, segment.ordinal, segment.acknowledged + 1),
      lte: recordKey(lane, segment.ordinal, through),
    };
    await this.#store.scan(range, (key, value) => {
      operations.push({ type: 'del', key });
      addRecord(state, segment, -(key.length + Buffer.byteLength(value)));
      return true;
    });
    segment.acknowledged = Math.max(segment.acknowledged, through);
    const isDone = segment.count === 0 && segment.ordinal !== this.#epoch.ordinal;
    if (isDone) state.segments = state.segments.filter((candidate) => candidate !== segment);
    operations.push(...positionOperations(lane, segment, isDone));
    // Not synced: after a power cut the records are sent once more and discarded by the manager's position.
    await this.#store.write(operations, { durable: false });
  }

  /** Gives up records that a refused report carried: deleted and counted in gap events. */
  async giveUp(ranges: readonly CarriedRange[], reason: string): Promise<void> {
    for (const range of ranges.filter(({ count }) => count > 0)) {
      const { lane, epoch, from, through, count } = range;
      const state = this.#lanes[lane];
      state.dropped += count;
      await this.#store.write([{ type: 'put', key: droppedKey(lane), value: String(state.dropped) }], {
        durable: false,
      });
      await this.append('control', gapEvent({ lane, epoch, from, to: through, count }, reason));
      await this.acknowledge(lane, epoch, through);
    }
  }

  /** Whether any lane holds records that may go now. */
  hasBacklog(): boolean {
    return LANES.some((lane) => this.#lanes[lane].segments.some(({ count }) => count > 0) && !this.#gate.holds(lane));
  }

  status(): SpoolStatus {
    const eventRateLimitPerMinute = this.#gate.perMinute ?? null;
    const { failure } = this.#store;
    return {
      ...spoolStatus(this.#lanes, this.#epoch.name),
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
