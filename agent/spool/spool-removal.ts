import type { Lane } from '../../protocol/heartbeat-messages.js';
import type { Store, StoreOperation } from './durable-store.js';
import { addRecord, positionOperations } from './lane-changes.js';
import { recordKey } from './spool-keys.js';
import type { CarriedRange, Gap, LaneState, Segment } from './spool-lanes.js';

export interface Removal {
  readonly operations: readonly StoreOperation[];
  /** Takes them out of the counts. */
  apply(): void;
  /** Once they are gone from the disk. */
  end(): void;
}

export interface RemovalOf {
  readonly lane: Lane;
  readonly state: LaneState;
  readonly segment: Segment;
  readonly through: number;
  /** Whether records are added to the epoch still. */
  readonly isCurrent: boolean;
}

export function removalOf(key: string): StoreOperation {
  return { type: 'del', key };
}

/** The records of an epoch up to a position as they leave the lane. */
export async function removeThrough(store: Store, { lane, state, segment, ...more }: RemovalOf): Promise<Removal> {
  const { through, isCurrent } = more;
  const sizes: number[] = [];
  const operations: StoreOperation[] = [];
  const range = {
    gte: recordKey(lane, segment.ordinal, segment.acknowledged + 1),
    lte: recordKey(lane, segment.ordinal, through),
  };
  await store.scan(range, (key, value) => {
    operations.push(removalOf(key));
    return sizes.push(key.length + Buffer.byteLength(value)) > 0;
  });
  // What a stored report carries beyond it may be gone already, uncounted.
  const isDone = segment.count === sizes.length && !isCurrent && segment.carriedThrough <= through;
  operations.push(...positionOperations(lane, segment.ordinal, isDone ? undefined : through));
  return {
    operations,
    apply() {
      for (const bytes of sizes) addRecord(state, segment, -bytes);
      segment.acknowledged = through;
    },
    end() {
      if (isDone) state.segments = state.segments.filter((candidate) => candidate !== segment);
    },
  };
}

/** What was dropped for room while a stored report carried it, and the manager did not take from that report. */
export function droppedUntaken(segment: Segment, { lane, from, through }: CarriedRange): Gap | undefined {
  // There nothing is dropped that a stored report carries.
  if (lane === 'control') return undefined;
  const [first, last] = [Math.max(from, segment.acknowledged + 1), Math.min(through, segment.droppedThrough)];
  return first > last ? undefined : { lane, epoch: segment.epoch, from: first, to: last, count: last - first + 1 };
}
