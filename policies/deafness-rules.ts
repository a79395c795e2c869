/** What was seen of a time in which the event loop did not turn. */
export interface StandStill {
  /** By the boot clock. */
  readonly stoodMs: number;
  /** How much of it the machine slept: what the boot clock counts and the monotonic one does not. */
  readonly suspendedMs: number;
  /** How long another thread of the process turned meanwhile; undefined without one. */
  readonly otherThreadMs: number | undefined;
}

/** An event loop that does not turn for longer accepts nothing. */
export const STALL_MS = 1000;
const SUSPEND_MS = 500;

/**
 * Why nothing was accepted: the machine slept, the whole process did not run (SIGSTOP, a frozen group, a starved host),
 * or the event loop alone was busy. Null where it turned often enough.
 */
export function causeOfStandStill({
  stoodMs,
  suspendedMs,
  otherThreadMs,
}: StandStill): 'suspended' | 'paused' | 'stalled' | null {
  if (stoodMs <= STALL_MS) return null;
  if (suspendedMs > SUSPEND_MS) return 'suspended';
  return otherThreadMs !== undefined && otherThreadMs < stoodMs / 2 ? 'paused' : 'stalled';
}
