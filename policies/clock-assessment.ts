import { classifyClock, type ClockFinding, type KnownStep, type ManagerClock } from './clock-classification.js';
import { isSameSize } from './clock-majority.js';
import { hasStoodStill } from './clock-rules.js';
import {
  bestSample,
  driftOf,
  jumpsIn,
  mostPpm,
  type ClockDrift,
  type ClockEstimate,
  type ClockJump,
  type ClockSample,
} from './clock-samples.js';

/** What an agent told by an event; fleet instant of its receipt. */
export interface ToldChange {
  readonly kind: 'step' | 'suspend';
  readonly receivedAt: number;
  /** What its clock was set by; 0 for a suspend that the clock outlived. */
  readonly byMs: number;
}

/** All that is known of one computer's clock. Instants are fleet instants. */
export interface ClockRecord {
  readonly at: number;
  /** Trusted time less the fleet clock. */
  readonly trustedMs: number;
  readonly intervalMs: number;
  /** Ascending; offsets from the fleet clock. */
  readonly samples: readonly ClockSample[];
  readonly told: readonly ToldChange[];
  /** What was found before, perhaps by samples that are not kept any more. */
  readonly found?: readonly Pick<ClockJump, 'from' | 'until' | 'byMs'>[];
  readonly manager: ManagerClock & {
    /** What the manager's own clock was found to have been moved by, against most computers. */
    readonly steps: readonly { readonly at: number; readonly byMs: number }[];
  };
}

export interface ClockAssessment extends ClockFinding {
  /** The agent's clock less trusted time, now. */
  readonly estimate: ClockEstimate | null;
  readonly drift: ClockDrift | null;
  /** Ascending. */
  readonly steps: readonly KnownStep[];
}

/** Reads samples and tellings together: where the clock stands, how it runs, what happened to it, and what it is taken for. */
export function assessClock(record: ClockRecord): ClockAssessment {
  const { samples, at, trustedMs, manager } = record;
  const whole = driftOf(samples);
  const jumps = whole?.isSteady ? [] : jumpsIn(samples);
  const settledAt = jumps.at(-1)?.until;
  const settled = settledAt === undefined ? samples : samples.filter((sample) => sample.at >= settledAt);
  const drift = settledAt === undefined ? whole : driftOf(settled);
  const best = bestSample(settled, at, mostPpm(drift));
  const estimate = best && { ...best, aheadMs: best.aheadMs - trustedMs };
  const steps = stepsOf(record, jumps);
  const watchedSince = settled[0]?.at ?? null;
  const finding = classifyClock({ at, estimate, drift, steps, manager, watchedSince });
  return { ...finding, estimate, drift, steps };
}

/** Each change once: what the agent told is what the samples show, where size and time agree. */
function stepsOf({ told, found = [], intervalMs, manager }: ClockRecord, seen: readonly ClockJump[]): KnownStep[] {
  const earlier = found.filter((step) => !seen.some((jump) => isSameJump(step, jump)));
  const jumps = [...seen, ...earlier.map((step) => ({ ...step, certainMs: Math.abs(step.byMs) }))];
  const shown = jumps.map((jump): KnownStep => {
    const { from, until, byMs } = jump;
    const telling = told.find((change) => isOf(change, jump));
    const kind = telling?.kind ?? kindOf(jump, { intervalMs, manager });
    return { kind, source: telling ? 'agent' : 'manager', from, until, byMs };
  });
  const unseen = told
    .filter((change) => !jumps.some((jump) => isOf(change, jump)))
    .map(({ kind, receivedAt, byMs }): KnownStep => ({
      kind,
      source: 'agent',
      from: receivedAt,
      until: receivedAt,
      byMs,
    }));
  return [...shown, ...unseen].toSorted((a, b) => a.until - b.until);
}

function isSameJump({ from, until, byMs }: Pick<ClockJump, 'from' | 'until' | 'byMs'>, jump: ClockJump): boolean {
  return from <= jump.until && until >= jump.from && isSameSize(byMs, { byMs: jump.byMs, errorMs: errorOf(jump) });
}

/** An agent tells no step before it was made. */
function isOf({ kind, byMs, receivedAt }: ToldChange, jump: ClockJump): boolean {
  return kind === 'step' && receivedAt >= jump.from && isSameSize(byMs, { byMs: jump.byMs, errorMs: errorOf(jump) });
}

function errorOf({ byMs, certainMs }: ClockJump): number {
  return Math.abs(byMs) - certainMs;
}

function kindOf(jump: ClockJump, { intervalMs, manager }: Pick<ClockRecord, 'intervalMs' | 'manager'>) {
  const { from, until, byMs } = jump;
  const isManagers = manager.steps.some(
    (step) =>
      step.at > from - intervalMs &&
      step.at <= until + intervalMs &&
      isSameSize(step.byMs, { byMs, errorMs: errorOf(jump) }),
  );
  if (isManagers) return 'manager-step';
  return hasStoodStill({ stepMs: byMs, elapsedMs: until - from, intervalMs }) ? 'suspend' : 'step';
}
