import type { Config } from '../config.js';
import type { Edges } from '../edges.js';
import type { RunningListeningLedger } from '../listening/listening-ledger.js';
import type { Storage } from '../open-storage.js';
import type { VerdictJob } from '../verdicts/verdict-job.js';
import { addVerdictWakeUps, clockJobs, cronJobs, listeningJobs } from './jobs.js';
import { createNodeCronPort } from './node-cron-port.js';
import { createScheduler, type Scheduler } from './scheduler.js';

export interface SchedulerParts {
  readonly config: Config;
  readonly edges: Edges;
  readonly storage: Storage;
  readonly ledger: RunningListeningLedger;
  readonly verdicts: VerdictJob;
}

/** The jobs of this process's roles. */
export function composeScheduler({ config, edges, storage, ledger, verdicts }: SchedulerParts): Scheduler {
  const { fleetClock, inJobsTransaction: inTransaction } = storage;
  const hasJobs = config.roles.has('jobs');
  const scheduler = createScheduler({
    clock: fleetClock,
    log: edges.log,
    cron: createNodeCronPort(edges.log),
    jobs: hasJobs ? cronJobs({ inTransaction, fleetClock, verdicts }) : [],
    monotonicJobs: [
      ...clockJobs({ inTransaction, fleetClock }),
      ...(config.roles.has('agents') ? listeningJobs(ledger) : []),
    ],
  });
  if (hasJobs) addVerdictWakeUps(scheduler, verdicts);
  return scheduler;
}
