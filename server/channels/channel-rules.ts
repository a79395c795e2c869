import { CHANNEL_CLOSE } from '../../protocol/channel-messages.js';

/** Why a channel ended: `reason` is shown, `code` is RFC 6455's. */
export interface ChannelEnd {
  readonly reason: string;
  readonly code: number;
  /** When the agent is to hold one again, where the manager goes. */
  readonly returnInMs?: number;
}

const ENDS: Readonly<Record<number, string>> = {
  [CHANNEL_CLOSE.done]: 'closed-by-agent',
  1001: 'closed-by-agent',
  1002: 'frame-abuse',
  1006: 'connection-lost',
  [CHANNEL_CLOSE.malformed]: 'frame-abuse',
  1009: 'frame-abuse',
  [CHANNEL_CLOSE.timeout]: 'answer-timeout',
};

/** What a close that the manager did not begin is called. */
export function endOfClose(code: number): string {
  return ENDS[code] ?? 'closed-by-agent';
}

/** A channel as it is stored. */
export interface StoredChannel {
  readonly state: 'open' | 'closed';
  readonly since: number;
  readonly reason: string | null;
  readonly generation: number;
}

/** The process that holds it, as the listening ledger knows it; null where it is not known there. */
export interface Holder {
  readonly generation: number;
  readonly listenedUntil: number;
}

export interface ShownChannel {
  readonly state: 'none' | 'open' | 'closed';
  readonly since: number | null;
  readonly reason: string | null;
}

/** A listening process is taken to live for so long after its last proof (design.md §5). */
const LIVE_MS = 5000;

const NONE: ShownChannel = { state: 'none', since: null, reason: null };

/**
 * The channel of a computer as it is at `now`: none that a process held which is gone is open, whether or not anybody
 * wrote that down.
 */
export function shownChannel(stored: StoredChannel | null, holder: Holder | null, now: number): ShownChannel {
  if (!stored) return NONE;
  const { state, since, reason, generation } = stored;
  if (state === 'closed') return { state, since, reason };
  if (holder?.generation === generation && holder.listenedUntil + LIVE_MS >= now) return { state, since, reason: null };
  const lostAt = holder?.generation === generation ? holder.listenedUntil : since;
  return { state: 'closed', since: Math.max(since, lostAt), reason: 'manager-gone' };
}

/** What is known of a computer that holds a channel. */
export interface HeldStanding {
  readonly isRevoked: boolean;
  readonly desired: string;
  /** What it runs on, was told, or is proving or has reverted; fingerprints. */
  readonly known: readonly (string | null)[];
}

/** What becomes of the channel of a computer that was looked at. */
export function judgeStanding({ isRevoked, desired, known }: HeldStanding): 'cut' | 'wake' | 'leave' {
  if (isRevoked) return 'cut';
  return known.includes(desired) ? 'leave' : 'wake';
}
