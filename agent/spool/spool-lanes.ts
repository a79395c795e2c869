import { LANES, NOTHING_ACKNOWLEDGED, type Lane } from '../../protocol/heartbeat-messages.js';
import type { Store } from './durable-store.js';
import {
  ALL_ACKNOWLEDGED,
  ALL_DROPPED_THROUGH,
  ALL_EPOCHS,
  ALL_RECORDS,
  droppedKey,
  parsePlace,
  type RecordPlace,
} from './spool-keys.js';
import { lossesOf, readToldLosses, tailOf, type Hole, type Loss } from './spool-losses.js';

/** Records of one lane and epoch that a report carries. */
export interface CarriedRange {
  readonly lane: Lane;
  readonly epoch: string;
  readonly from: number;
  readonly through: number;
  readonly count: number;
}

/** Records that will never be sent: `count` of them, from the first to the last sequence. */
export interface Gap {
  readonly lane: Lane;
  readonly epoch: string;
  readonly from: number;
  readonly to: number;
  readonly count: number;
}

export interface LaneStatus {
  readonly epoch: string | null;
  readonly next: number;
  readonly acknowledged: number;
  readonly dropped: number;
  /** Records of all epochs that the manager has not acknowledged. */
  readonly waiting: number;
}

/** The records of one lane that one process wrote. */
export interface Segment {
  readonly ordinal: number;
  readonly epoch: string;
  next: number;
  acknowledged: number;
  /** The highest sequence that a stored report carries. */
  carriedThrough: number;
  /** The highest sequence that any report of this process carried. */
  sentThrough: number;
  /** The highest sequence that was read for a report which is not there yet. */
  readThrough: number | undefined;
  /** Up to where records were dropped for room. */
  droppedThrough: number;
  bytes: number;
  count: number;
}

export interface OpenGap {
  readonly gap: Gap;
  readonly ordinal: number;
  readonly sequence: number;
  /** What its record takes. */
  readonly bytes: number;
}

export interface LaneState {
  /** Oldest first; the current epoch's is the last, once it has records. */
  segments: Segment[];
  bytes: number;
  dropped: number;
  /** A write failed that was to drop records: whether they are gone shows when the database is opened again. */
  isInDoubt: boolean;
}

export type Lanes = Readonly<Record<Lane, LaneState>>;

function createLane(): LaneState {
  return { segments: [], bytes: 0, dropped: 0, isInDoubt: false };
}

export function createLanes(): Lanes {
  return { control: createLane(), detection: createLane(), log: createLane(), metric: createLane() };
}

export interface LoadedLanes {
  readonly lanes: Lanes;
  readonly lastOrdinal: number;
  /** Records that are gone although nobody took them out, and were not told yet. */
  readonly losses: readonly Loss[];
  /** Epochs whose name is gone, under the one that they go by from now on. */
  readonly renamed: readonly { readonly ordinal: number; readonly epoch: string }[];
  /** Records that are on disk although their write failed: nobody was told that they are stored. */
  readonly refused: readonly string[];
}

export interface LoadOptions {
  /** Names an epoch whose name is lost. */
  readonly nameOf: () => string;
  /** What the spool that is open knew. */
  readonly known?: Lanes | undefined;
}

/** Reads the lanes from disk (one pass over the records, for their sizes). */
export async function loadLanes(store: Store, { nameOf, known = createLanes() }: LoadOptions): Promise<LoadedLanes> {
  const epochs = await loadEpochs(store);
  const lanes = createLanes();
  const renamed: { ordinal: number; epoch: string }[] = [];
  const segmentAt = ({ lane, ordinal }: RecordPlace): Segment => {
    if (!epochs.has(ordinal)) {
      const epoch =
        known[lane].segments.find((before) => before.ordinal === ordinal && before.count > 0)?.epoch ?? nameOf();
      renamed.push({ ordinal, epoch });
      epochs.set(ordinal, epoch);
    }
    return segmentOf(lanes[lane], ordinal, epochs.get(ordinal) ?? '');
  };
  await loadPositions(store, segmentAt);
  const { holes, refused } = await loadRecords(store, {
    lanes,
    segmentAt,
    wasRefused: refusedBy(known, new Map(epochs)),
  });
  for (const lane of LANES) {
    holes.push(...keepKnown(lane, lanes[lane], known[lane]));
    lanes[lane].segments.sort((one, other) => one.ordinal - other.ordinal);
    lanes[lane].dropped = Number((await store.get(droppedKey(lane))) ?? 0);
  }
  const losses = lossesOf(holes, await readToldLosses(store));
  return { lanes, lastOrdinal: Math.max(0, ...epochs.keys()), losses, renamed, refused };
}

/** Takes over what only the open spool knows; answers the ends of epochs that it held and the disk does not hold any more. */
function keepKnown(lane: Lane, fresh: LaneState, known: LaneState): Hole[] {
  return known.segments.flatMap((before) => {
    const { ordinal, epoch } = before;
    const there = fresh.segments.find((segment) => segment.ordinal === ordinal);
    // Opened without its disk, a spool knows no epoch that is there.
    if (there ? there.epoch !== epoch : before.count === 0) return [];
    const now = segmentOf(fresh, ordinal, epoch);
    now.carriedThrough = Math.max(now.carriedThrough, before.carriedThrough);
    now.sentThrough = Math.max(now.sentThrough, before.sentThrough);
    now.readThrough = before.readThrough;
    const tail = tailOf(before, now);
    now.next = Math.max(now.next, before.next);
    return tail ? [{ lane, ordinal, epoch, ...tail }] : [];
  });
}

type SegmentAt = (place: RecordPlace) => Segment;

async function loadPositions(store: Store, segmentAt: SegmentAt): Promise<void> {
  await store.scan(ALL_ACKNOWLEDGED, (key, value) => {
    const place = parsePlace(key);
    if (!place) return true;
    const segment = segmentAt(place);
    segment.acknowledged = Number(value);
    segment.carriedThrough = segment.acknowledged;
    segment.sentThrough = segment.acknowledged;
    segment.next = segment.acknowledged + 1;
    return true;
  });
  await store.scan(ALL_DROPPED_THROUGH, (key, value) => {
    const place = parsePlace(key);
    if (!place) return true;
    const segment = segmentAt(place);
    segment.droppedThrough = Number(value);
    segment.next = Math.max(segment.next, Number(value) + 1);
    return true;
  });
}

interface RecordLoad {
  readonly lanes: Lanes;
  readonly segmentAt: SegmentAt;
  readonly wasRefused: (place: RecordPlace) => boolean;
}

async function loadRecords(
  store: Store,
  { lanes, segmentAt, wasRefused }: RecordLoad,
): Promise<{ readonly holes: Hole[]; readonly refused: readonly string[] }> {
  const holes: Hole[] = [];
  const refused: string[] = [];
  await store.scan(ALL_RECORDS, (key, value) => {
    const place = parsePlace(key);
    if (!place) return true;
    const { lane, ordinal, sequence } = place;
    if (wasRefused(place)) return refused.push(key) > 0;
    const segment = segmentAt(place);
    const bytes = key.length + Buffer.byteLength(value);
    if (sequence > segment.next)
      holes.push({ lane, ordinal, epoch: segment.epoch, from: segment.next, to: sequence - 1 });
    segment.next = Math.max(segment.next, sequence + 1);
    segment.bytes += bytes;
    segment.count += 1;
    lanes[lane].bytes += bytes;
    return true;
  });
  return { holes, refused };
}

/** In lane control a gap event stands for records that went with the same write, and stays. */
function refusedBy(known: Lanes, epochs: ReadonlyMap<number, string>): (place: RecordPlace) => boolean {
  return ({ lane, ordinal, sequence }) => {
    if (lane === 'control') return false;
    const before = known[lane].segments.find((segment) => segment.ordinal === ordinal);
    return before !== undefined && before.epoch === epochs.get(ordinal) && sequence >= before.next;
  };
}

async function loadEpochs(store: Store): Promise<Map<number, string>> {
  const epochs = new Map<number, string>();
  await store.scan(ALL_EPOCHS, (key, value) => {
    epochs.set(Number.parseInt(key.slice(2), 16), value);
    return true;
  });
  return epochs;
}

function segmentOf(state: LaneState, ordinal: number, epoch: string): Segment {
  const known = state.segments.find((segment) => segment.ordinal === ordinal);
  if (known) return known;
  const segment = createSegment(ordinal, epoch);
  state.segments.push(segment);
  return segment;
}

export function createSegment(ordinal: number, epoch: string): Segment {
  const none = NOTHING_ACKNOWLEDGED;
  const positions = { acknowledged: none, carriedThrough: none, sentThrough: none, droppedThrough: none };
  return { ordinal, epoch, next: 0, ...positions, readThrough: undefined, bytes: 0, count: 0 };
}

/** What `status` shows: the current epoch's positions, or for a stopped agent the last epoch's. */
export function laneStatus(state: LaneState, epoch: string | undefined): LaneStatus {
  const last = state.segments.at(-1);
  const { dropped } = state;
  const waiting = state.segments.reduce((sum, { count }) => sum + count, 0);
  if (last && (epoch === undefined || last.epoch === epoch))
    return { epoch: last.epoch, next: last.next, acknowledged: last.acknowledged, dropped, waiting };
  return { epoch: epoch ?? null, next: 0, acknowledged: NOTHING_ACKNOWLEDGED, dropped, waiting };
}
