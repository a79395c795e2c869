import type { NoticeJob } from '../alerts/notices/notice-job.js';
import type { AuditSealer } from '../audit/audit-sealer.js';
import type { Config } from '../config.js';
import type { Edges } from '../edges.js';
import type { ManagerJournal } from '../events/manager-journal.js';
import type { RunningListeningLedger } from '../listening/listening-ledger.js';
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
  readonly notices: NoticeJob;
  readonly journal: ManagerJournal;
}

/** The jobs of this process's roles. */
export function composeScheduler({
  config,
  edges,
  storage,
  ledger,
  verdicts,
  sealer,
  notices,
  journal,
}: SchedulerParts): Scheduler {
  const { fleetClock, inJobsTransaction: inTransaction } = storage;
  const hasJobs = config.roles.has('jobs');
  const scheduler = createScheduler({
    clock: fleetClock,
    log: edges.log,
    cron: createNodeCronPort({ log: edges.log, wall: () => fleetClock.wall() }),
    jobs: hasJobs ? cronJobs({ inTransaction, fleetClock, verdicts, sealer, notices }) : [],
    monotonicJobs: [
      ...clockJobs({ inTransaction, fleetClock }),
      ...(config.roles.has('agents') ? listeningJobs(ledger) : []),
    ],
    onJobChange: createJobWatch({ journal, clock: fleetClock }),
  });
  if (hasJobs) {
    addVerdictWakeUps(scheduler, verdicts);
    addSealWakeUps(scheduler, fleetClock);
  }
  return scheduler;
}
