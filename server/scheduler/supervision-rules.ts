/** A fire may be this late before the supervisor takes it for missing. */
const PATIENCE_MS = 1500;
/** The wall clock may part from the monotonic one by this between two looks of the supervisor. */
const STEP_MS = 1000;

/** What the supervisor saw of both clocks. */
export interface ClockReading {
  readonly wallMs: number;
  readonly monotonicMs: number;
}

/** Whether the wall clock moved otherwise than the monotonic one. A suspend counts: it stands still in between. */
export function isStepped(before: ClockReading, now: ClockReading): boolean {
  return Math.abs(now.wallMs - before.wallMs - (now.monotonicMs - before.monotonicMs)) > STEP_MS;
}

/** Whether a fire that was due at a monotonic instant is missing. */
export function isFireMissing(dueAtMs: number | null, nowMs: number): boolean {
  return dueAtMs !== null && nowMs - dueAtMs > PATIENCE_MS;
}
