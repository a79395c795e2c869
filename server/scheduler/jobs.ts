import type { Clock } from '../../lib/clock.js';
import type { CommandJob } from '../agent-commands/index.js';
import type { NoticeJob } from '../alerts/notices/notice-job.js';
import type { AuditSealer } from '../audit/audit-sealer.js';
import type { ExpiryJob } from '../certificates/expiry-job.js';
import type { ManagerCertificate } from '../certificates/manager-certificate.js';
import type { HotTransaction } from '../database/hot-transaction.js';
import type { IncidentJob, StatusNudge } from '../incidents/index.js';
import type { OpenedFleetClock } from '../fleet-clock/open-fleet-clock.js';
import type { RunningListeningLedger } from '../listening/listening-ledger.js';
import type { PortWatch } from '../listening/port-watch.js';
import { DEAD_MAN_EVERY_MS, type DeadMan } from '../system/dead-man.js';
import type { ManagerWatch } from '../system/manager-watch.js';
import type { VerdictJob } from '../verdicts/verdict-job.js';
import type { Job, MonotonicJob } from './job.js';
import type { LagWatch } from './lag-watch.js';
import { deleteExpiredSessions, deleteLanePositions, deleteOldLateness, keepPartitions } from './maintenance.js';
import type { Scheduler } from './scheduler.js';

export interface JobsDeps {
  readonly inTransaction: HotTransaction;
  readonly fleetClock: OpenedFleetClock;
  readonly verdicts: Pick<VerdictJob, 'run' | 'wakeUps'>;
  readonly sealer: Pick<AuditSealer, 'run'>;
  readonly incidents: Pick<IncidentJob, 'run'>;
  /** Told of every run of the verdict job. */
  readonly lag?: Pick<LagWatch, 'began'>;
  readonly notices: Pick<NoticeJob, 'run'>;
  readonly commands: { readonly job: Pick<CommandJob, 'run' | 'tidy'> };
  readonly expiries: Pick<ExpiryJob, 'run' | 'tidy'>;
}

export const VERDICTS = 'verdicts';
export const AUDIT_SEALS = 'audit-seals';
export const INCIDENTS = 'incidents';

/** The jobs of the role `jobs`. */
export function cronJobs(deps: JobsDeps): Job[] {
  return [
    { name: VERDICTS, cron: '* * * * * *', run: (signal) => runVerdicts(deps, signal) },
    { name: AUDIT_SEALS, cron: '* * * * * *', run: (signal) => deps.sealer.run(signal) },
    { name: INCIDENTS, cron: '* * * * * *', run: (signal) => deps.incidents.run(signal) },
    { name: 'notices', cron: '* * * * * *', run: (signal) => deps.notices.run(signal) },
    { name: 'commands', cron: '* * * * * *', run: (signal) => deps.commands.job.run(signal) },
    { name: 'partitions', cron: '0 7 0 * * *', run: () => keepPartitions(deps) },
    { name: 'expired-sessions', cron: '30 */10 * * * *', run: () => deleteExpiredSessions(deps) },
    { name: 'lane-positions', cron: '0 37 3 * * *', run: () => deleteLanePositions(deps) },
    { name: 'lateness', cron: '0 47 3 * * *', run: () => deleteOldLateness(deps) },
    { name: 'certificate-expiry', cron: '20 * * * * *', run: (signal) => deps.expiries.run(signal) },
    { name: 'certificate-log', cron: '0 55 3 * * *', run: (signal) => deps.expiries.tidy(signal) },
    { name: 'command-log', cron: '0 51 3 * * *', run: () => deps.commands.job.tidy() },
  ];
}

function runVerdicts({ verdicts, lag }: JobsDeps, signal: AbortSignal): Promise<void> {
  lag?.began();
  return verdicts.run(signal);
}

const SECOND_MS = 1000;
/** Far less than the shortest stall that counts. */
const WITNESS_EVERY_MS = 100;
const PORT_EVERY_MS = 2000;
/** Verdicts are looked for at least so often. */
export const VERDICTS_EVERY_MS = SECOND_MS;

/** What every process does: it keeps the clock. */
export function clockJobs({
  inTransaction,
  fleetClock,
}: Pick<JobsDeps, 'inTransaction' | 'fleetClock'>): MonotonicJob[] {
  const run = () => inTransaction((sql) => fleetClock.renew(sql), { attempts: 2 });
  return [{ name: 'fleet-clock', everyMs: SECOND_MS, run }];
}

/** What a process with an agent port does: it proves that it listens. */
export function listeningJobs(ledger: RunningListeningLedger, portWatch: Pick<PortWatch, 'look'>): MonotonicJob[] {
  return [
    { name: 'listening-proof', everyMs: SECOND_MS, run: () => ledger.renew() },
    { name: 'listening-witness', everyMs: WITNESS_EVERY_MS, run: async () => ledger.witness() },
    { name: 'agent-port-watch', everyMs: PORT_EVERY_MS, run: (signal) => portWatch.look(signal) },
  ];
}

const CERTIFICATE_EVERY_MS = 600_000;

/** What every process does that shows a certificate of its own. */
export function certificateJobs(certificate: ManagerCertificate): MonotonicJob[] {
  return [{ name: 'manager-certificate', everyMs: CERTIFICATE_EVERY_MS, run: () => certificate.look() }];
}

/** Apart from all others, so that it tells of them. */
export function watchJobs(watch: ManagerWatch): MonotonicJob[] {
  return [{ name: 'manager-watch', everyMs: SECOND_MS, run: () => watch.look() }];
}

/** By the monotonic timer: a step of the wall clock must not look like a death. */
export function deadManJobs(deadMan: Pick<DeadMan, 'tick'>): MonotonicJob[] {
  return [{ name: 'deadman', everyMs: DEAD_MAN_EVERY_MS, run: (signal) => deadMan.tick(signal) }];
}

const SEAL_EVERY_MS = 500;

/** Between two fires of its cron, so that an audit row is sealed within a second. */
export function addSealWakeUps(scheduler: Scheduler, clock: Pick<Clock, 'sleep'>): void {
  scheduler.addLoop('audit-seal-wakeups', async (signal) => {
    while (!signal.aborted) {
      await clock.sleep(SEAL_EVERY_MS, signal);
      await scheduler.wake(AUDIT_SEALS);
    }
  });
}

/** Between two fires of its cron, so that an incident is stored before its members' alerts are told. */
export function addIncidentWakeUps(scheduler: Scheduler, nudge: Pick<StatusNudge, 'wakeUps'>): void {
  scheduler.addLoop('incident-wakeups', (signal) => nudge.wakeUps(signal, () => scheduler.wake(INCIDENTS)));
}

/** The precise wake-up of the verdict job; its cron goes on beside it. */
export function addVerdictWakeUps(scheduler: Scheduler, verdicts: Pick<VerdictJob, 'wakeUps'>): void {
  scheduler.addLoop('verdict-wakeups', (signal) => verdicts.wakeUps(signal, () => scheduler.wake(VERDICTS)));
}
