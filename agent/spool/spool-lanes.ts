import { LANES, NOTHING_ACKNOWLEDGED, type Lane } from '../../protocol/heartbeat-messages.js';
import type { Store } from './durable-store.js';
import { ALL_ACKNOWLEDGED, ALL_EPOCHS, ALL_RECORDS, droppedKey, parsePlace } from './spool-keys.js';

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
  readonly sequence: number;
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

/** Reads the lanes from disk (one pass over the records, for their sizes). */
export async function loadLanes(store: Store): Promise<{ lanes: Record<Lane, LaneState>; lastOrdinal: number }> {
  const epochs = await loadEpochs(store);
  const lanes = createLanes();
  await store.scan(ALL_ACKNOWLEDGED, (key, value) => {
    const place = parsePlace(key);
    const segment = place && segmentOf(lanes[place.lane], place.ordinal, epochs);
    if (segment) segment.acknowledged = Number(value);
    if (segment) segment.carriedThrough = segment.acknowledged;
    if (segment) segment.next = segment.acknowledged + 1;
    return true;
  });
  await store.scan(ALL_RECORDS, (key, value) => {
    const place = parsePlace(key);
    const segment = place && segmentOf(lanes[place.lane], place.ordinal, epochs);
    if (!place || !segment) return true;
    const bytes = key.length + Buffer.byteLength(value);
    segment.next = place.sequence + 1;
    segment.bytes += bytes;
    segment.count += 1;
    lanes[place.lane].bytes += bytes;
    return true;
  });
  for (const lane of LANES) {
    lanes[lane].segments.sort((a, b) => a.ordinal - b.ordinal);
    lanes[lane].dropped = Number((await store.get(droppedKey(lane))) ?? 0);
  }
  return { lanes, lastOrdinal: Math.max(0, ...epochs.keys()) };
}

async function loadEpochs(store: Store): Promise<Map<number, string>> {
  const epochs = new Map<number, string>();
  await store.scan(ALL_EPOCHS, (key, value) => {
    epochs.set(Number.parseInt(key.slice(2), 16), value);
    return true;
  });
  return epochs;
}

function segmentOf(state: LaneState, ordinal: number, epochs: Map<number, string>): Segment | undefined {
  const known = state.segments.find((segment) => segment.ordinal === ordinal);
  if (known) return known;
  const epoch = epochs.get(ordinal);
  if (epoch === undefined) return undefined;
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
