import { LANES, NOTHING_ACKNOWLEDGED, type Lane } from '../../protocol/heartbeat-messages.js';
import type { Store, StoreOperation } from './durable-store.js';
import type { IncomingEvent } from './event-intake.js';
import { droppedKey, droppedThroughKey, recordKey } from './spool-keys.js';
import type { Gap, LaneState, OpenGap, Segment } from './spool-lanes.js';

export function gapEvent(gap: Gap, reason = 'quota'): IncomingEvent {
  return {
    kind: 'spool-gap',
    severity: 'medium',
    message: `${gap.count} records of lane ${gap.lane} were dropped`,
    data: { ...gap, reason },
  };
}

/**
 * Takes the oldest records of a lane out until it holds at most `toBytes`; the operations delete them on disk. What a
 * stored report carries leaves without being counted: the report still brings it to the manager.
 */
export async function dropOldest(
  store: Store,
  lane: Lane,
  { state, toBytes }: { state: LaneState; toBytes: number },
): Promise<{ operations: StoreOperation[]; gaps: Gap[] }> {
  const operations: StoreOperation[] = [];
  const gaps: Gap[] = [];
  for (const segment of state.segments) {
    if (state.bytes <= toBytes) break;
    const gap = await dropFromSegment(store, { lane, state, segment, toBytes, operations });
    if (gap) gaps.push(gap);
  }
  state.dropped += gaps.reduce((sum, { count }) => sum + count, 0);
  if (gaps.length > 0) operations.push({ type: 'put', key: droppedKey(lane), value: String(state.dropped) });
  return { operations, gaps };
}

interface SegmentDrop {
  readonly lane: Lane;
  readonly state: LaneState;
  readonly segment: Segment;
  readonly toBytes: number;
  readonly operations: StoreOperation[];
}

async function dropFromSegment(
  store: Store,
  { lane, state, segment, toBytes, operations }: SegmentDrop,
): Promise<Gap | undefined> {
  let through = NOTHING_ACKNOWLEDGED;
  const dropped = { from: NOTHING_ACKNOWLEDGED, to: NOTHING_ACKNOWLEDGED, count: 0 };
  const range = { gte: recordKey(lane, segment.ordinal, 0), lte: recordKey(lane, segment.ordinal, segment.next) };
  await store.scan(range, (key, value) => {
    if (state.bytes <= toBytes) return false;
    const sequence = Number.parseInt(key.slice(key.lastIndexOf('!') + 1), 16);
    const bytes = key.length + Buffer.byteLength(value);
    operations.push({ type: 'del', key });
    through = sequence;
    state.bytes -= bytes;
    segment.bytes -= bytes;
    segment.count -= 1;
    if (sequence <= segment.carriedThrough) return true;
    if (dropped.count === 0) dropped.from = sequence;
    dropped.to = sequence;
    dropped.count += 1;
    return true;
  });
  if (through !== NOTHING_ACKNOWLEDGED)
    operations.push({ type: 'put', key: droppedThroughKey(lane, segment.ordinal), value: String(through) });
  takeOutGaps(state, segment, through);
  return dropped.count > 0 ? { lane, epoch: segment.epoch, ...dropped } : undefined;
}

/** Gap events among what was dropped: their counts go into the next one, which must not be written in their place. */
function takeOutGaps({ openGaps }: LaneState, { ordinal, carriedThrough }: Segment, through: number): void {
  for (const lane of LANES) {
    const open = openGaps[lane];
    if (open?.sequence === undefined || open.ordinal !== ordinal || open.sequence > through) continue;
    if (open.sequence > carriedThrough) openGaps[lane] = { ...open, sequence: undefined };
    else delete openGaps[lane];
  }
}

/** Whether a gap goes on in the event that told the one before it: nobody has read that yet. */
export function continues({ gap, ordinal, sequence }: OpenGap, next: { gap: Gap; segment: Segment }): boolean {
  if (gap.epoch !== next.gap.epoch || ordinal !== next.segment.ordinal) return false;
  return sequence === undefined || sequence > next.segment.carriedThrough;
}
