import { LANES, NOTHING_ACKNOWLEDGED, type AgentEvent, type Lane } from '../../protocol/heartbeat-messages.js';
import type { Store } from './durable-store.js';
import { addRecord } from './lane-changes.js';
import type { RateGate } from './rate-gate.js';
import { parsePlace, recordKey } from './spool-keys.js';
import type { CarriedRange, Gap, Segment } from './spool-lanes.js';
import { lossOfRecords, toldOperation } from './spool-losses.js';
import type { SpoolOrder } from './spool-order.js';
import { decodeRecord } from './spool-record.js';
import { droppedUntaken, removalOf, removeThrough, type Removal } from './spool-removal.js';
import type { SpoolRoom } from './spool-room.js';
import type { SpoolWriter } from './spool-writer.js';

export interface ReadBatch {
  readonly lane: Lane;
  readonly epoch: string;
  readonly events: readonly AgentEvent[];
}

export interface ReadLimits {
  readonly maxEvents: number;
  readonly maxBytes: number;
}

export interface DrainParts {
  readonly store: Store;
  readonly writer: SpoolWriter;
  readonly order: SpoolOrder;
  readonly gate: RateGate;
  readonly room: SpoolRoom;
}

/** How records leave the spool: read for a report, carried by it, and forgotten once the manager answered for them. */
export class SpoolDrain {
  readonly #store: Store;
  readonly #writer: SpoolWriter;
  readonly #order: SpoolOrder;
  readonly #gate: RateGate;
  readonly #room: SpoolRoom;
  /** Ranges of stored reports that are no more. */
  readonly #unsettled: CarriedRange[] = [];

  constructor({ store, writer, order, gate, room }: DrainParts) {
    this.#store = store;
    this.#writer = writer;
    this.#order = order;
    this.#gate = gate;
    this.#room = room;
  }

  /**
   * The oldest unacknowledged epoch of every lane, lanes in order of urgency, at most `maxEvents` and `maxBytes` in all, and
   * of newly produced ones what the manager's limit has places for. Nothing of it is dropped until `carry`, or the next `read`.
   */
  read(limits: ReadLimits): Promise<ReadBatch[]> {
    return this.#exclusively(async () => {
      await this.#writer.closeGaps();
      this.#endReading();
      const batches: ReadBatch[] = [];
      // While nothing can be written the report is not stored either.
      const bytes = this.#store.failure ? limits.maxBytes : this.#room.readBytes(limits.maxBytes);
      const left = { events: limits.maxEvents, bytes };
      for (const lane of LANES) {
        const { segments, isInDoubt } = this.#writer.lanes[lane];
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
      addRecord(this.#writer.lanes[lane], segment, -(key.length + Buffer.byteLength(value)));
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
    for (const lane of LANES) for (const segment of this.#writer.lanes[lane].segments) segment.readThrough = undefined;
  }

  #exclusively<T>(action: () => Promise<T>): Promise<T> {
    return this.#order.beside(() => this.#order.exclusively(LANES, action));
  }

  #segmentOf(lane: Lane, epoch: string): Segment | undefined {
    return this.#writer.lanes[lane].segments.find((segment) => segment.epoch === epoch);
  }

  /**
   * Forgets what the manager has stored. A position beyond what was ever sent counts only up to there. Where the disk cannot
   * be written it throws, and is forgotten all the same: from the disk with the next `reopen`.
   */
  acknowledge(lane: Lane, epoch: string, position: number): Promise<void> {
    return this.#order.beside(() =>
      this.forget(lane, epoch, Math.min(position, this.#segmentOf(lane, epoch)?.sentThrough ?? NOTHING_ACKNOWLEDGED)),
    );
  }

  forget(lane: Lane, epoch: string, through: number): Promise<void> {
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
    return removeThrough(this.#store, { lane, state: this.#writer.lanes[lane], segment, through, isCurrent });
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
    return this.#order.beside(() => this.settleRest());
  }

  /** Those whose turn a failure took. */
  settleRest(): Promise<void> {
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
}
