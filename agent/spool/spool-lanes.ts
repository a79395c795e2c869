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
import { lossesOf, readToldLosses, type Hole, type Loss } from './spool-losses.js';

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
  bytes: number;
  count: number;
}

export interface OpenGap {
  readonly gap: Gap;
  readonly ordinal: number;
  /** Undefined once its record was dropped itself. */
  readonly sequence: number | undefined;
  /** What its record takes. */
  readonly bytes: number;
}

export interface LaneState {
  /** Oldest first; the current epoch's is the last, once it has records. */
  segments: Segment[];
  bytes: number;
  dropped: number;
  /** A bulk append under way: its sequences must stay consecutive. */
  bulk: Promise<void> | undefined;
  exclusive: Promise<void> | undefined;
  /** In lane control: the latest gap event of each lane, while it may still be extended. */
  readonly openGaps: Partial<Record<Lane, OpenGap>>;
}

function createLane(): LaneState {
  return { segments: [], bytes: 0, dropped: 0, bulk: undefined, exclusive: undefined, openGaps: {} };
}

export function createLanes(): Record<Lane, LaneState> {
  return { control: createLane(), detection: createLane(), log: createLane(), metric: createLane() };
}

export interface LoadedLanes {
  readonly lanes: Record<Lane, LaneState>;
  readonly lastOrdinal: number;
  /** Records that are gone although nobody took them out, and were not told yet. */
  readonly losses: readonly Loss[];
  /** Epochs whose name is gone, under the one that they go by from now on. */
  readonly renamed: readonly { readonly ordinal: number; readonly epoch: string }[];
}

/** Reads the lanes from disk (one pass over the records, for their sizes). `nameOf` names an epoch whose name is lost. */
export async function loadLanes(store: Store, nameOf: () => string): Promise<LoadedLanes> {
  const epochs = await loadEpochs(store);
  const lanes = createLanes();
  const renamed: { ordinal: number; epoch: string }[] = [];
  const segmentAt = ({ lane, ordinal }: RecordPlace): Segment => {
    if (!epochs.has(ordinal)) {
      const epoch = nameOf();
      renamed.push({ ordinal, epoch });
      epochs.set(ordinal, epoch);
    }
    return segmentOf(lanes[lane], ordinal, epochs.get(ordinal) ?? '');
  };
  await loadPositions(store, segmentAt);
  const holes = await loadRecords(store, lanes, segmentAt);
  for (const lane of LANES) {
    lanes[lane].segments.sort((one, other) => one.ordinal - other.ordinal);
    lanes[lane].dropped = Number((await store.get(droppedKey(lane))) ?? 0);
  }
  const losses = lossesOf(holes, await readToldLosses(store));
  return { lanes, lastOrdinal: Math.max(0, ...epochs.keys()), losses, renamed };
}

type SegmentAt = (place: RecordPlace) => Segment;

async function loadPositions(store: Store, segmentAt: SegmentAt): Promise<void> {
  await store.scan(ALL_ACKNOWLEDGED, (key, value) => {
    const place = parsePlace(key);
    if (!place) return true;
    const segment = segmentAt(place);
    segment.acknowledged = Number(value);
    segment.carriedThrough = segment.acknowledged;
    segment.next = segment.acknowledged + 1;
    return true;
  });
  await store.scan(ALL_DROPPED_THROUGH, (key, value) => {
    const place = parsePlace(key);
    if (!place) return true;
    const segment = segmentAt(place);
    segment.next = Math.max(segment.next, Number(value) + 1);
    return true;
  });
}

async function loadRecords(
  store: Store,
  lanes: Record<Lane, LaneState>,
  segmentAt: SegmentAt,
): Promise<readonly Hole[]> {
  const holes: Hole[] = [];
  await store.scan(ALL_RECORDS, (key, value) => {
    const place = parsePlace(key);
    if (!place) return true;
    const { lane, ordinal, sequence } = place;
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
  return holes;
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
  const none = NOTHING_ACKNOWLEDGED;
  const segment = { ordinal, epoch, next: 0, acknowledged: none, carriedThrough: none, bytes: 0, count: 0 };
  state.segments.push(segment);
  return segment;
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
