import type { Random } from '../../lib/random.js';
import { LANES, NOTHING_ACKNOWLEDGED, type Lane } from '../../protocol/heartbeat-messages.js';
import type { StoreOperation } from './durable-store.js';
import { acknowledgedKey, droppedThroughKey, epochKey, toldLossesKey } from './spool-keys.js';
import { laneStatus, type Gap, type LaneState, type LaneStatus, type Segment } from './spool-lanes.js';

export interface NewEpoch {
  readonly ordinal: number;
  readonly name: string;
}

/** One at a time per lane: trims and acknowledgements count the same records. */
export async function exclusively(state: LaneState, action: () => Promise<void>): Promise<void> {
  while (state.exclusive) await state.exclusive;
  const run = action();
  state.exclusive = run.catch(() => undefined);
  try {
    await run;
  } finally {
    state.exclusive = undefined;
  }
}

export function positionOperations(lane: Lane, segment: Segment, isDone: boolean): StoreOperation[] {
  const key = acknowledgedKey(lane, segment.ordinal);
  if (!isDone) return [{ type: 'put', key, value: String(segment.acknowledged) }];
  const others = [droppedThroughKey(lane, segment.ordinal), toldLossesKey(lane, segment.ordinal)];
  return [key, ...others].map((one) => ({ type: 'del', key: one }));
}

export function newName(random: Random): string {
  return random.bytes(16).toString('hex');
}

export function nameOperation({
  ordinal,
  epoch,
}: {
  readonly ordinal: number;
  readonly epoch: string;
}): StoreOperation {
  return { type: 'put', key: epochKey(ordinal), value: epoch };
}

/** What only the open spool knows: which records a stored report carries, and what was handed in meanwhile. */
export function keepCarried(fresh: LaneState, known: LaneState): void {
  for (const segment of fresh.segments) {
    const before = known.segments.find(({ ordinal }) => ordinal === segment.ordinal);
    segment.next = Math.max(segment.next, before?.next ?? 0);
    segment.carriedThrough = Math.max(segment.carriedThrough, before?.carriedThrough ?? NOTHING_ACKNOWLEDGED);
  }
}

/** Takes the drained epochs of earlier processes out of the lanes. */
export function forgetDrained(lanes: Record<Lane, LaneState>): StoreOperation[] {
  return LANES.flatMap((lane) => {
    const drained = lanes[lane].segments.filter(({ count }) => count === 0);
    lanes[lane].segments = lanes[lane].segments.filter(({ count }) => count > 0);
    return drained.flatMap((segment) => positionOperations(lane, segment, true));
  });
}

export function addRecord(state: LaneState, segment: Segment, bytes: number): void {
  const records = Math.sign(bytes);
  segment.count += records;
  segment.bytes += bytes;
  state.bytes += bytes;
}

export function spoolStatus(
  lanes: Record<Lane, LaneState>,
  epoch: string | undefined,
): { readonly bytes: number; readonly lanes: Readonly<Record<Lane, LaneStatus>> } {
  const states = LANES.map((lane) => [lane, laneStatus(lanes[lane], epoch)]);
  return {
    bytes: LANES.reduce((sum, lane) => sum + lanes[lane].bytes, 0),
    lanes: Object.fromEntries(states) as Record<Lane, LaneStatus>,
  };
}

/** All records, by lane and epoch. */
export function heldIn(lanes: Record<Lane, LaneState>): Gap[] {
  return LANES.flatMap((lane) =>
    lanes[lane].segments
      .filter(({ count }) => count > 0)
      .map(({ epoch, acknowledged, next, count }) => ({ lane, epoch, from: acknowledged + 1, to: next - 1, count })),
  );
}
