import type { Clock } from '../../lib/clock.js';
import type { NoticeJob } from '../alerts/notices/notice-job.js';
import type { AuditSealer } from '../audit/audit-sealer.js';
import type { HotTransaction } from '../database/hot-transaction.js';
import type { OpenedFleetClock } from '../fleet-clock/open-fleet-clock.js';
import type { RunningListeningLedger } from '../listening/listening-ledger.js';
import type { VerdictJob } from '../verdicts/verdict-job.js';
import type { Job, MonotonicJob } from './job.js';
import { deleteExpiredSessions, deleteLanePositions, deleteOldLateness, keepPartitions } from './maintenance.js';
import type { Scheduler } from './scheduler.js';

export interface JobsDeps {
  readonly inTransaction: HotTransaction;
  readonly fleetClock: OpenedFleetClock;
  readonly verdicts: Pick<VerdictJob, 'run' | 'wakeUps'>;
  readonly sealer: Pick<AuditSealer, 'run'>;
  readonly notices: Pick<NoticeJob, 'run'>;
}

export const VERDICTS = 'verdicts';
export const AUDIT_SEALS = 'audit-seals';

/** The jobs of the role `jobs`. */
export function cronJobs(deps: JobsDeps): Job[] {
  return [
    { name: VERDICTS, cron: '* * * * * *', run: (signal) => deps.verdicts.run(signal) },
    { name: AUDIT_SEALS, cron: '* * * * * *', run: (signal) => deps.sealer.run(signal) },
    { name: 'notices', cron: '* * * * * *', run: (signal) => deps.notices.run(signal) },
    { name: 'partitions', cron: '0 7 0 * * *', run: () => keepPartitions(deps) },
    { name: 'expired-sessions', cron: '30 */10 * * * *', run: () => deleteExpiredSessions(deps) },
    { name: 'lane-positions', cron: '0 37 3 * * *', run: () => deleteLanePositions(deps) },
    { name: 'lateness', cron: '0 47 3 * * *', run: () => deleteOldLateness(deps) },
  ];
}

const SECOND_MS = 1000;
const WITNESS_EVERY_MS = 500;

/** What every process does: it keeps the clock. */
export function clockJobs({
  inTransaction,
  fleetClock,
}: Pick<JobsDeps, 'inTransaction' | 'fleetClock'>): MonotonicJob[] {
  const run = () => inTransaction((sql) => fleetClock.renew(sql), { attempts: 2 });
  return [{ name: 'fleet-clock', everyMs: SECOND_MS, run }];
}

/** What a process with an agent port does: it proves that it listens. */
export function listeningJobs(ledger: RunningListeningLedger): MonotonicJob[] {
  return [
    { name: 'listening-proof', everyMs: SECOND_MS, run: () => ledger.renew() },
    { name: 'listening-witness', everyMs: WITNESS_EVERY_MS, run: async () => ledger.witness() },
  ];
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

/** The precise wake-up of the verdict job; its cron goes on beside it. */
export function addVerdictWakeUps(scheduler: Scheduler, verdicts: Pick<VerdictJob, 'wakeUps'>): void {
  scheduler.addLoop('verdict-wakeups', (signal) => verdicts.wakeUps(signal, () => scheduler.wake(VERDICTS)));
}
