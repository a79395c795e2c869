import type { AuditSealer } from '../audit/audit-sealer.js';
import type { Config } from '../config.js';
import type { Edges } from '../edges.js';
import type { ManagerJournal } from '../events/manager-journal.js';
import type { RunningListeningLedger } from '../listening/listening-ledger.js';
import { NOTIFICATIONS, type Notifications } from '../notifications/index.js';
import type { Storage } from '../open-storage.js';
import type { VerdictJob } from '../verdicts/verdict-job.js';
import { createJobWatch } from './job-watch.js';
import { addSealWakeUps, addVerdictWakeUps, clockJobs, cronJobs, listeningJobs } from './jobs.js';
import { createNodeCronPort } from './node-cron-port.js';
import { createScheduler, type Scheduler } from './scheduler.js';

export interface SchedulerParts {
  readonly config: Config;
  readonly edges: Edges;
  readonly storage: Storage;
  readonly ledger: RunningListeningLedger;
  readonly verdicts: VerdictJob;
  readonly sealer: AuditSealer;
  readonly journal: ManagerJournal;
  readonly notifications: Notifications;
}

/** The jobs of this process's roles. */
export function composeScheduler({
  config,
  edges,
  storage,
  ledger,
  verdicts,
  sealer,
  journal,
  notifications,
}: SchedulerParts): Scheduler {
  const { fleetClock, inJobsTransaction: inTransaction } = storage;
  const hasJobs = config.roles.has('jobs');
  const scheduler = createScheduler({
    clock: fleetClock,
    log: edges.log,
    cron: createNodeCronPort({ log: edges.log, wall: () => fleetClock.wall() }),
    jobs: hasJobs ? [...cronJobs({ inTransaction, fleetClock, verdicts, sealer }), ...notifications.jobs] : [],
    monotonicJobs: [
      ...clockJobs({ inTransaction, fleetClock }),
      ...(config.roles.has('agents') ? listeningJobs(ledger) : []),
    ],
    onJobChange: createJobWatch({ journal, clock: fleetClock }),
  });
  if (hasJobs) {
    addVerdictWakeUps(scheduler, verdicts);
    addSealWakeUps(scheduler, fleetClock);
    notifications.deliverer.onFree(() => void scheduler.wake(NOTIFICATIONS));
  }
  return scheduler;
}
