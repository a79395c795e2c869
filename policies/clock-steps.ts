/** A step that an agent told; `occurredMs` by its own clock after the step, Unix milliseconds. */
export interface ToldStep {
  readonly stepMs: number;
  readonly occurredMs: number;
}

/** A step that the comparison of two readings showed. */
export interface FoundStep {
  readonly stepMs: number;
  readonly withinMs: number;
  /** The agent's clock less trusted time, after it. */
  readonly offsetAfterMs: number;
  /** The two readings, trusted time, Unix milliseconds. */
  readonly between: readonly [number, number];
}

/** An agent notices a step up to a second late, looks again, and may be busy. */
const TOLD_LATE_MS = 10_000;

/** Whether a told step is the found one: of its size, and made at its time. */
export function isSameStep({ stepMs, occurredMs }: ToldStep, found: FoundStep): boolean {
  const { withinMs, offsetAfterMs, between } = found;
  const at = occurredMs - offsetAfterMs;
  const slackMs = withinMs + TOLD_LATE_MS;
  return Math.abs(stepMs - found.stepMs) <= withinMs && at >= between[0] - slackMs && at <= between[1] + slackMs;
}

/** Whether the agent told what a comparison shows: as one step, or as several that come to it together. */
export function isTold(found: FoundStep, told: readonly ToldStep[]): boolean {
  if (told.some((step) => isSameStep(step, found))) return true;
  const sum = told.reduce((total, { stepMs }) => total + stepMs, 0);
  return told.length > 1 && Math.abs(sum - found.stepMs) <= found.withinMs;
}
