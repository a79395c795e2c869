import { NOTHING_ACKNOWLEDGED, type Lane } from '../../protocol/heartbeat-messages.js';
import type { Store } from './durable-store.js';
import type { IncomingEvent } from './event-intake.js';
import { recordKey } from './spool-keys.js';
import type { Gap, LaneState, Segment } from './spool-lanes.js';
import { decodeRecord } from './spool-record.js';

const GAP_KIND = 'spool-gap';

export function gapEvent(gap: Gap, reason = 'quota'): IncomingEvent {
  return {
    kind: GAP_KIND,
    severity: 'medium',
    message: `${gap.count} records of lane ${gap.lane} were dropped`,
    data: { ...gap, reason },
  };
}

/** The oldest records of one epoch of a lane, which are to go. */
export interface Drop {
  readonly lane: Lane;
  readonly segment: Segment;
  readonly keys: readonly string[];
  readonly bytes: number;
  readonly through: number;
  /** What of them is lost; undefined where a stored report carries them all. */
  readonly gap: Gap | undefined;
}

/**
 * The oldest records of a lane, so many that it holds at most `toBytes` without them. What a stored report carries leaves
 * without being counted: the report still brings it to the manager; what was read for one that is not stored yet stays. Of
 * lane control both stay, and so do gap events: nothing else names what they count.
 */
export async function oldestOf(
  store: Store,
  lane: Lane,
  { state, toBytes }: { state: LaneState; toBytes: number },
): Promise<Drop[]> {
  const drops: Drop[] = [];
  let excess = state.bytes - toBytes;
  for (const segment of state.segments) {
    if (excess <= 0 || segment.readThrough !== undefined) break;
    const drop = await oldestOfSegment(store, { lane, segment, excess });
    if (!drop) continue;
    drops.push(drop);
    excess -= drop.bytes;
  }
  return drops;
}

interface SegmentDrop {
  readonly lane: Lane;
  readonly segment: Segment;
  readonly excess: number;
}

async function oldestOfSegment(store: Store, { lane, segment, excess }: SegmentDrop): Promise<Drop | undefined> {
  const { ordinal, epoch, carriedThrough } = segment;
  const keys: string[] = [];
  const lost = { from: NOTHING_ACKNOWLEDGED, to: NOTHING_ACKNOWLEDGED, count: 0 };
  let bytes = 0;
  let through = NOTHING_ACKNOWLEDGED;
  const range = { gte: recordKey(lane, ordinal, 0), lte: recordKey(lane, ordinal, segment.next - 1) };
  await store.scan(range, (key, value) => {
    if (bytes >= excess) return false;
    const sequence = Number.parseInt(key.slice(key.lastIndexOf('!') + 1), 16);
    if (lane === 'control' && (sequence <= carriedThrough || decodeRecord(value)?.kind === GAP_KIND)) return true;
    through = sequence;
    keys.push(key);
    bytes += key.length + Buffer.byteLength(value);
    if (through <= carriedThrough) return true;
    if (lost.count === 0) lost.from = through;
    lost.to = through;
    lost.count += 1;
    return true;
  });
  if (keys.length === 0) return undefined;
  return { lane, segment, keys, bytes, through, gap: lost.count > 0 ? { lane, epoch, ...lost } : undefined };
}
