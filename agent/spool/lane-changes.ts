import type { Random } from '../../lib/random.js';
import { LANES, type Lane } from '../../protocol/heartbeat-messages.js';
import type { StoreOperation } from './durable-store.js';
import { acknowledgedKey, droppedThroughKey, epochKey, toldLossesKey } from './spool-keys.js';
import {
  laneStatus,
  type CarriedRange,
  type Gap,
  type Lanes,
  type LaneState,
  type LaneStatus,
  type Segment,
} from './spool-lanes.js';

export interface NewEpoch {
  readonly ordinal: number;
  readonly name: string;
}

/** Notes the position of an epoch; undefined: forgets all that is noted of it. */
export function positionOperations(lane: Lane, ordinal: number, position: number | undefined): StoreOperation[] {
  const key = acknowledgedKey(lane, ordinal);
  if (position !== undefined) return [{ type: 'put', key, value: String(position) }];
  const others = [droppedThroughKey(lane, ordinal), toldLossesKey(lane, ordinal)];
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

/** Takes the drained epochs of earlier processes out of the lanes, but for those that a stored report still speaks for. */
export function forgetDrained(lanes: Lanes, carried: readonly CarriedRange[]): StoreOperation[] {
  return LANES.flatMap((lane) => {
    const isDrained = ({ count, epoch }: Segment): boolean =>
      count === 0 && !carried.some((range) => range.lane === lane && range.epoch === epoch);
    const drained = lanes[lane].segments.filter(isDrained);
    lanes[lane].segments = lanes[lane].segments.filter((segment) => !isDrained(segment));
    return drained.flatMap(({ ordinal }) => positionOperations(lane, ordinal, undefined));
  });
}

export function addRecord(state: LaneState, segment: Segment, bytes: number): void {
  const records = Math.sign(bytes);
  segment.count += records;
  segment.bytes += bytes;
  state.bytes += bytes;
}

export function spoolStatus(
  lanes: Lanes,
  epoch: string | undefined,
): { readonly bytes: number; readonly lanes: Readonly<Record<Lane, LaneStatus>> } {
  const states = LANES.map((lane) => [lane, laneStatus(lanes[lane], epoch)]);
  return {
    bytes: LANES.reduce((sum, lane) => sum + lanes[lane].bytes, 0),
    lanes: Object.fromEntries(states) as Record<Lane, LaneStatus>,
  };
}

/** All records, by lane and epoch. */
export function heldIn(lanes: Lanes): Gap[] {
  return LANES.flatMap((lane) =>
    lanes[lane].segments
      .filter(({ count }) => count > 0)
      .map(({ epoch, acknowledged, next, count }) => ({ lane, epoch, from: acknowledged + 1, to: next - 1, count })),
  );
}

/** Bytes of records, by lane. */
export function heldBytes(lanes: Lanes): Readonly<Record<Lane, number>> {
  return Object.fromEntries(LANES.map((lane) => [lane, lanes[lane].bytes])) as Record<Lane, number>;
}
