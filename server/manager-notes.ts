import type { ManagerNote } from './events/manager-journal.js';
import type { ClockDoubt } from './heartbeats/clock-witness.js';
import type { DeafCause, DeafSpan } from './listening/listening.js';

export function managerStarted(version: string): ManagerNote {
  return { kind: 'manager-started', severity: 'info', message: 'The manager was started.', data: { version } };
}

export function managerStopped(): ManagerNote {
  return { kind: 'manager-stopped', severity: 'info', message: 'The manager is being stopped in order.' };
}

export function migrationApplied(migration: string): ManagerNote {
  return { kind: 'migration-applied', severity: 'info', message: 'The schema was migrated.', data: { migration } };
}

const SHORTEST_GAP_MS = 1000;

/** A moment between two renewals of the proof is no news. */
export function isWorthTelling({ from, until }: DeafSpan): boolean {
  return until - from >= SHORTEST_GAP_MS;
}

/** Every deadline was put off by this span, unless another node listened meanwhile. */
export function listeningGap({ from, until, cause }: DeafSpan & { readonly cause: DeafCause }): ManagerNote {
  return {
    kind: 'listening-gap',
    severity: cause === 'process-down' ? 'low' : 'medium',
    message: 'The manager did not listen for a while; this time counts against no computer.',
    data: { cause, seconds: (until - from) / 1000 },
    at: until,
  };
}

export function clockStepped(byMs: number): ManagerNote {
  return {
    kind: 'wall-clock-stepped',
    severity: 'medium',
    message: "The manager's wall clock was stepped; deadlines do not follow it.",
    data: { byMs },
  };
}

/** No computer is accused for it; `offsetMs` is where they stand, `byMs` what they seemed to move by. */
export function clockDoubted(doubt: ClockDoubt): ManagerNote {
  const { computers, of } = doubt;
  const found = doubt.kind === 'stepped' ? { byMs: doubt.byMs } : { offsetMs: doubt.offsetMs };
  return {
    kind: 'manager-clock-doubted',
    severity: 'medium',
    message: "Most computers' clocks agree with one another and not with the manager's.",
    data: { found: doubt.kind, ...found, computers, of },
  };
}

export function drainBegan(seconds: number): ManagerNote {
  return { kind: 'drain-begun', severity: 'info', message: 'The manager drains before its stop.', data: { seconds } };
}

export function drainEnded(why: string): ManagerNote {
  return { kind: 'drain-ended', severity: 'info', message: 'The manager stays after a drain.', data: { why } };
}

export function shardsLost(shards: readonly number[]): ManagerNote {
  return {
    kind: 'verdict-shards-lost',
    severity: 'medium',
    message: 'Another process has taken over verdicts of this one.',
    data: { shards },
  };
}
