import { toRfc3339 } from '../../lib/clock.js';
import type { FleetClock, FleetInstant } from '../fleet-clock/fleet-clock.js';
import type { RunningListeningLedger } from '../listening/listening-ledger.js';
import type { Scheduler } from '../scheduler/scheduler.js';
import type { VerdictJob } from '../verdicts/verdict-job.js';
import type { DeadMan } from './dead-man.js';
import type { ManagerDrain } from './drain.js';
import type { DeadManReply, DrainReply, JobReply, SystemReply, VerdictStateReply } from './system-dto.js';

export interface SystemViewDeps {
  readonly fleetClock: FleetClock;
  readonly verdicts: Pick<VerdictJob, 'verdictState'>;
  readonly ledger: Pick<RunningListeningLedger, 'deafness' | 'deafSeconds' | 'deafSecondsBy'>;
  readonly drain: Pick<ManagerDrain, 'period'>;
  /** Undefined where none is configured. */
  readonly deadMan: Pick<DeadMan, 'state'> | undefined;
  readonly scheduler: Pick<Scheduler, 'statistics'>;
  readonly facts: Pick<SystemReply, 'node' | 'versions' | 'caFingerprint' | 'trustDomain' | 'auditProtected'>;
  readonly urls: () => Pick<SystemReply, 'adminUrl' | 'agentUrl' | 'ports'>;
}

/** What the manager says about itself. */
export interface SystemView {
  system(): SystemReply;
  jobs(): readonly JobReply[];
}

export function createSystemView(deps: SystemViewDeps): SystemView {
  const show = (instant: FleetInstant | null): string | null =>
    instant === null ? null : toRfc3339(deps.fleetClock.toWall(instant));
  return {
    system: () => ({
      ...deps.facts,
      ...deps.urls(),
      verdicts: verdictsOf(deps, show),
      drain: drainOf(deps, show),
      deadman: deadManOf(deps, show),
      listening: listeningOf(deps, show),
    }),
    jobs: () =>
      deps.scheduler.statistics().map((job) => ({
        ...job,
        lastRunAt: job.lastRunAt === null ? null : toRfc3339(job.lastRunAt),
        nextRunAt: job.nextRunAt === null ? null : toRfc3339(job.nextRunAt),
      })),
  };
}

type Show = (at: FleetInstant | null) => string | null;

function drainOf({ drain, fleetClock }: SystemViewDeps, show: Show): DrainReply {
  const period = drain.period();
  if (!period) return { state: 'off', since: null, endsAt: null, resumesAt: null };
  const { since, endsAt, resumesAt } = period;
  const passing = endsAt > fleetClock.fleet() ? 'draining' : 'drained';
  const state = resumesAt === null ? 'stopping' : passing;
  return { state, since: show(since), endsAt: show(endsAt), resumesAt: show(resumesAt) };
}

function deadManOf({ deadMan }: SystemViewDeps, show: Show): DeadManReply {
  const none = { origin: null, lastOkAt: null, lastError: null, withheld: null };
  const { origin, lastOkAt, lastError, withheld } = deadMan?.state() ?? none;
  return { configured: deadMan !== undefined, origin, lastOkAt: show(lastOkAt), lastError, withheld };
}

function verdictsOf({ verdicts }: SystemViewDeps, show: Show): VerdictStateReply {
  const { state, reason, since, until } = verdicts.verdictState();
  return { state, reason, since: show(since) ?? '', until: show(until) };
}

function listeningOf({ ledger }: SystemViewDeps, show: Show): SystemReply['listening'] {
  const deafness = ledger.deafness();
  return {
    deafSeconds: ledger.deafSeconds(),
    deafSecondsByCause: ledger.deafSecondsBy(),
    deaf: deafness?.cause ?? null,
    deafSince: show(deafness?.since ?? null),
  };
}
