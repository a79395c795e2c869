import type { Clock } from '../lib/clock.js';
import { toRfc3339 } from '../lib/clock.js';
import { clockEvents, type ClockReading } from './beat-rules.js';
import { sleepUnlessAborted } from './deadline.js';
import type { IncomingEvent } from './spool/event-intake.js';
import type { ClockMoment, Progress } from './state-store.js';

/** The agent's event code of a changed clock. */
export const CLOCK_CHANGE_CODE = 5004;
const LOOK_EVERY_MS = 1000;

/** What seems to be a step is looked at again after this: the boot clock notices a suspend some 200 ms late. */
const CONFIRM_AFTER_MS = 500;

/** Looks at the three clocks every second and hands over an event for each step and each suspend. */
export async function watchClock(
  clock: Clock,
  signal: AbortSignal,
  report: (event: IncomingEvent) => Promise<void>,
): Promise<void> {
  let before = readClock(clock);
  while (!signal.aborted) {
    await sleepUnlessAborted(clock, LOOK_EVERY_MS, signal);
    let after = readClock(clock);
    if (hasEvents(before, after)) {
      // A process that was stopped between two readings, or a boot clock that lags, sees a step that never was.
      await sleepUnlessAborted(clock, CONFIRM_AFTER_MS, signal);
      after = readClock(clock);
    }
    if (signal.aborted) return;
    for (const event of toEvents(before, after)) await report(event);
    before = after;
  }
}

/** What the durable state remembers of the clocks. */
export type LastReadings = Pick<Progress, 'lastExchangeAt' | 'anchor' | 'clockTold'>;

/**
 * The event of a wall clock that was set while no agent ran, under the same boot of the kernel; undefined where it was
 * not, or where nothing is there to compare with. The boot clock tells how long the agent was away.
 */
export function changeWhileAway(readings: LastReadings, now: ClockMoment): IncomingEvent | undefined {
  const last = lastOf(readings, now.bootId);
  if (!last) return undefined;
  const before = { wall: last.wall, boot: last.boot, monotonic: last.boot };
  const after = { wall: now.wall, boot: now.boot, monotonic: now.boot };
  const { stepMs } = clockEvents(before, after);
  return stepMs === 0 ? undefined : stepEvent(before, after, Math.round(stepMs));
}

function lastOf({ lastExchangeAt, anchor, clockTold }: LastReadings, bootId: string): ClockMoment | undefined {
  const exchanged = lastExchangeAt !== undefined && anchor ? { ...anchor, wall: lastExchangeAt } : undefined;
  const [last] = [exchanged, clockTold]
    .filter((moment) => moment?.bootId === bootId)
    .toSorted((a, b) => (b?.boot ?? 0) - (a?.boot ?? 0));
  return last;
}

function hasEvents(before: ClockReading, after: ClockReading): boolean {
  const { stepMs, suspendedMs } = clockEvents(before, after);
  return stepMs !== 0 || suspendedMs !== 0;
}

function readClock(clock: Clock): ClockReading {
  return { wall: clock.wall(), monotonic: clock.monotonic(), boot: clock.boot() };
}

function toEvents(before: ClockReading, after: ClockReading): IncomingEvent[] {
  const { stepMs, suspendedMs } = clockEvents(before, after);
  const events: IncomingEvent[] = [];
  if (stepMs !== 0) events.push(stepEvent(before, after, Math.round(stepMs)));
  if (suspendedMs !== 0)
    events.push({
      kind: 'computer-resumed',
      severity: 'info',
      message: 'The computer was suspended',
      data: { suspendedMs: Math.round(suspendedMs) },
    });
  return events;
}

function stepEvent(before: ClockReading, after: ClockReading, stepMs: number): IncomingEvent {
  return {
    kind: 'clock-changed',
    code: CLOCK_CHANGE_CODE,
    severity: 'medium',
    message: `The clock was set ${stepMs < 0 ? 'back' : 'forward'} by ${Math.abs(stepMs)} ms`,
    data: { stepMs, from: toRfc3339(after.wall - stepMs), to: toRfc3339(after.wall), lookedAt: toRfc3339(before.wall) },
  };
}
