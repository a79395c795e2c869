import type { Clock } from '../../lib/clock.js';
import type { Lane } from '../../protocol/heartbeat-messages.js';
import type { Store, StoreOperation } from './durable-store.js';
import { toSpoolable, type SpoolableEvent } from './event-intake.js';
import { addRecord, nameOperation, type NewEpoch } from './lane-changes.js';
import { droppedKey, droppedThroughKey, recordKey } from './spool-keys.js';
import { createSegment, type Gap, type Lanes, type OpenGap, type Segment } from './spool-lanes.js';
import { gapEvent, type Drop } from './spool-quota.js';
import { encodeRecord } from './spool-record.js';

/** What is written, or not, as a whole. */
export interface Change {
  readonly drops?: readonly Drop[];
  /** Records that are gone for another reason than room. */
  readonly lost?: { readonly gap: Gap; readonly reason: string };
  readonly operations?: readonly StoreOperation[];
  readonly lane: Lane;
  /** Their sequences are consecutive. */
  readonly events: readonly SpoolableEvent[];
}

export interface WrittenRange {
  readonly epoch: string;
  readonly first: number;
  readonly last: number;
}

interface Writing {
  readonly operations: StoreOperation[];
  readonly undo: (() => void)[];
}

/**
 * Gives records their sequences and writes them. What it counts follows the disk: a write that failed is taken back, with
 * its sequences, and no other is tried until the lanes were read anew (`begin`), in a new epoch.
 */
export class SpoolWriter {
  readonly #store: Store;
  readonly #clock: Clock;
  #lanes: Lanes;
  #epoch: NewEpoch & { isStored: boolean };
  /** In lane control: the latest gap event of each lane, while it may still be extended. */
  readonly #openGaps = new Map<Lane, OpenGap>();
  #failure: Error | undefined;

  constructor({ store, clock }: { store: Store; clock: Clock }, lanes: Lanes, epoch: NewEpoch) {
    this.#store = store;
    this.#clock = clock;
    this.#lanes = lanes;
    this.#epoch = { ...epoch, isStored: false };
  }

  get lanes(): Lanes {
    return this.#lanes;
  }

  get epoch(): NewEpoch {
    return this.#epoch;
  }

  /** Goes on with what is on disk now, in an epoch behind all that are there. */
  begin(lanes: Lanes, { name, behind = 0 }: { readonly name: string; readonly behind?: number }): void {
    this.#lanes = lanes;
    this.#epoch = { ordinal: Math.max(this.#epoch.ordinal, behind) + 1, name, isStored: false };
    this.#openGaps.clear();
    this.#failure = undefined;
  }

  /** Takes the next sequences in the turn of the call, so that order of sequence is order of write. */
  async write({ drops = [], lost, operations = [], lane, events }: Change): Promise<WrittenRange> {
    if (this.#failure) throw this.#failure;
    const epoch = this.#epoch;
    const writing: Writing = { operations: [...operations], undo: [] };
    for (const drop of drops) this.#drop(writing, drop);
    if (lost) {
      this.#countDropped(writing, lost.gap);
      this.#put(writing, 'control', [toSpoolable(gapEvent(lost.gap, lost.reason), this.#clock.wall())]);
    }
    const first = this.#put(writing, lane, events);
    if (!epoch.isStored) writing.operations.unshift(nameOperation({ ordinal: epoch.ordinal, epoch: epoch.name }));
    try {
      await this.#store.write(writing.operations, { durable: true });
    } catch (error) {
      this.#takeBack(writing, error);
      throw error;
    }
    epoch.isStored = true;
    return { epoch: epoch.name, first, last: first + events.length - 1 };
  }

  /** What is about to be read is not extended any more: a count that a report does not carry would be lost with it. */
  async closeGaps(): Promise<void> {
    if (this.#openGaps.size === 0) return;
    this.#openGaps.clear();
    // Behind those that are being written; where they fail they are taken back.
    await this.#store.write([], { durable: false }).catch(() => undefined);
  }

  #takeBack({ undo }: Writing, error: unknown): void {
    for (const step of undo) step();
    this.#openGaps.clear();
    this.#failure = error instanceof Error ? error : new Error(String(error));
  }

  #segment(lane: Lane): Segment {
    const { segments } = this.#lanes[lane];
    const last = segments.at(-1);
    if (last?.ordinal === this.#epoch.ordinal) return last;
    const segment = createSegment(this.#epoch.ordinal, this.#epoch.name);
    segments.push(segment);
    return segment;
  }

  /** Answers the first sequence. */
  #put(writing: Writing, lane: Lane, events: readonly SpoolableEvent[]): number {
    const segment = this.#segment(lane);
    const state = this.#lanes[lane];
    const first = segment.next;
    writing.undo.push(() => (segment.next = Math.min(segment.next, first)));
    for (const event of events) {
      const key = recordKey(lane, segment.ordinal, segment.next);
      const value = encodeRecord({ sequence: segment.next, ...event });
      const bytes = key.length + Buffer.byteLength(value);
      writing.operations.push({ type: 'put', key, value });
      segment.next += 1;
      addRecord(state, segment, bytes);
      writing.undo.push(() => addRecord(state, segment, -bytes));
    }
    return first;
  }

  #drop(writing: Writing, { lane, segment, keys, bytes, through, gap }: Drop): void {
    const state = this.#lanes[lane];
    for (const key of keys) writing.operations.push({ type: 'del', key });
    const { droppedThrough } = segment;
    segment.droppedThrough = Math.max(droppedThrough, through);
    const key = droppedThroughKey(lane, segment.ordinal);
    writing.operations.push({ type: 'put', key, value: String(segment.droppedThrough) });
    const take = (sign: 1 | -1): void => {
      state.bytes -= sign * bytes;
      segment.bytes -= sign * bytes;
      segment.count -= sign * keys.length;
    };
    take(1);
    writing.undo.push(() => (state.isInDoubt = this.#lanes.control.isInDoubt = true));
    writing.undo.push(() => take(-1));
    writing.undo.push(() => (segment.droppedThrough = droppedThrough));
    if (!gap) return;
    this.#countDropped(writing, gap);
    this.#putGap(writing, gap);
  }

  #countDropped({ operations, undo }: Writing, { lane, count }: Gap): void {
    const state = this.#lanes[lane];
    state.dropped += count;
    operations.push({ type: 'put', key: droppedKey(lane), value: String(state.dropped) });
    undo.push(() => (state.dropped -= count));
  }

  /** An unsent gap event that ends where this begins is extended. */
  #putGap(writing: Writing, gap: Gap): void {
    const before = this.#openGaps.get(gap.lane);
    const segment = this.#segment('control');
    if (before && continues(before, { gap, segment })) return this.#extendGap(writing, before, gap);
    const bytesBefore = segment.bytes;
    const sequence = this.#put(writing, 'control', [toSpoolable(gapEvent(gap), this.#clock.wall())]);
    this.#openGaps.set(gap.lane, { gap, ordinal: segment.ordinal, sequence, bytes: segment.bytes - bytesBefore });
  }

  /** What went later may be older: it was being sent before. */
  #extendGap({ operations, undo }: Writing, before: OpenGap, { lane, ...more }: Gap): void {
    const { from, to, count } = before.gap;
    const range = { from: Math.min(from, more.from), to: Math.max(to, more.to) };
    const gap = { ...before.gap, ...range, count: count + more.count };
    const { ordinal, sequence } = before;
    const segment = this.#segment('control');
    const { control } = this.#lanes;
    const key = recordKey('control', ordinal, sequence);
    const value = encodeRecord({ sequence, ...toSpoolable(gapEvent(gap), this.#clock.wall()) });
    operations.push({ type: 'put', key, value });
    const bytes = key.length + Buffer.byteLength(value);
    const grow = (by: number): void => {
      control.bytes += by;
      segment.bytes += by;
    };
    grow(bytes - before.bytes);
    undo.push(() => grow(before.bytes - bytes));
    this.#openGaps.set(lane, { gap, ordinal, sequence, bytes });
  }
}

/** Whether a gap goes on in the event that told the one before it: nobody has read that yet. */
function continues({ gap, ordinal, sequence }: OpenGap, next: { gap: Gap; segment: Segment }): boolean {
  if (gap.epoch !== next.gap.epoch || ordinal !== next.segment.ordinal) return false;
  return sequence > next.segment.carriedThrough;
}
