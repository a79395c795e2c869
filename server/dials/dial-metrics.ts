import { DIAL_FAILURES, type DialFailureCode } from './dial-failure.js';
import type { DialLane } from './dial-rules.js';

/** `busy`: the agent's exchange was in flight elsewhere; `own`: the manager could not store what came. */
export type DialResult = DialFailureCode | 'answered' | 'busy' | 'own';

/** What a process has dialled since its start. */
export interface DialMetrics {
  readonly results: Readonly<Record<DialResult, number>>;
  readonly open: Readonly<Record<DialLane, number>>;
  /** Computers in the schedule. */
  readonly scheduled: () => number;
  /** How far the earliest due dial is behind, in milliseconds. */
  readonly lagMs: () => number;
}

export function createDialResults(): Record<DialResult, number> {
  const results = [...DIAL_FAILURES, 'answered', 'busy', 'own'] as const;
  return Object.fromEntries(results.map((result) => [result, 0])) as Record<DialResult, number>;
}
