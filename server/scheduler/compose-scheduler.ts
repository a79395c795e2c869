import type { NoticeJob } from '../alerts/notices/notice-job.js';
import type { AuditSealer } from '../audit/audit-sealer.js';
import type { CommandJob } from '../agent-commands/index.js';
import type { ExpiryJob } from '../certificates/expiry-job.js';
import type { ManagerCertificate } from '../certificates/manager-certificate.js';
import type { Config } from '../config.js';
import type { Edges } from '../edges.js';
import type { ManagerJournal } from '../events/manager-journal.js';
import type { Heartbeats } from '../heartbeats/compose-heartbeats.js';
import type { IncidentJob, StatusNudge } from '../incidents/index.js';
import type { RunningListeningLedger } from '../listening/listening-ledger.js';
import type { PortWatch } from '../listening/port-watch.js';
import { NOTIFICATIONS, type Notifications } from '../notifications/index.js';
import type { Storage } from '../open-storage.js';
import type { AlertWriter } from '../alerts/alert.js';
import type { DeadMan } from '../system/dead-man.js';
import type { ManagerDrain } from '../system/drain.js';
import { createManagerWatch } from '../system/manager-watch.js';
import type { VerdictJob } from '../verdicts/verdict-job.js';
import { createJobWatch } from './job-watch.js';
import {
  addIncidentWakeUps,
  addSealWakeUps,
  addVerdictWakeUps,
  certificateJobs,
  clockJobs,
  cronJobs,
  deadManJobs,
  listeningJobs,
  VERDICTS,
  watchJobs,
} from './jobs.js';
import type { LagWatch } from './lag-watch.js';
import type { MonotonicJob } from './job.js';
import { createNodeCronPort } from './node-cron-port.js';
import { createScheduler, type Scheduler } from './scheduler.js';

export interface SchedulerParts {
  readonly config: Config;
  readonly edges: Edges;
  readonly storage: Storage;
  readonly ledger: RunningListeningLedger;
  readonly portWatch: PortWatch;
  readonly alerts: AlertWriter;
  /** Of the verdict job. */
  readonly lag: LagWatch;
  readonly verdicts: VerdictJob;
  readonly sealer: AuditSealer;
  readonly incidents: IncidentJob;
  readonly statusNudge: StatusNudge;
  readonly notices: NoticeJob;
  readonly commands: { readonly job: CommandJob };
  readonly heartbeats: Pick<Heartbeats, 'clocksBesideMs'>;
  readonly journal: ManagerJournal;
  readonly drain: ManagerDrain;
  /** Undefined where none is configured. */
  readonly deadMan: DeadMan | undefined;
  readonly notifications: Notifications;
  readonly expiries: ExpiryJob;
  readonly managerCertificate: ManagerCertificate;
}

/** The jobs of this process's roles. */
export function composeScheduler(parts: SchedulerParts): Scheduler {
  const { config, edges, storage, verdicts, sealer, incidents, notices, statusNudge, journal, lag, notifications } =
    parts;
  const { fleetClock, inJobsTransaction: inTransaction } = storage;
  const hasJobs = config.roles.has('jobs');
  const scheduler = createScheduler({
    clock: fleetClock,
    log: edges.log,
    cron: createNodeCronPort({ log: edges.log, wall: () => fleetClock.wall() }),
    jobs: hasJobs
      ? [
          ...cronJobs({
            inTransaction,
            fleetClock,
            verdicts,
            sealer,
            incidents,
            notices,
            lag,
            commands: parts.commands,
            expiries: parts.expiries,
          }),
          ...notifications.jobs,
        ]
      : [],
    monotonicJobs: monotonicJobs(parts, { hasJobs, hasAgents: config.roles.has('agents') }),
    onJobChange: createJobWatch({ journal, clock: fleetClock }),
  });
  if (hasJobs) {
    parts.drain.onChange(() => scheduler.wake(VERDICTS));
    addVerdictWakeUps(scheduler, verdicts);
    addSealWakeUps(scheduler, fleetClock);
    addIncidentWakeUps(scheduler, statusNudge);
    notifications.deliverer.onFree(() => void scheduler.wake(NOTIFICATIONS));
  }
  return scheduler;
}

function monotonicJobs(
  { config, storage, ledger, portWatch, alerts, lag, deadMan, heartbeats, managerCertificate }: SchedulerParts,
  { hasJobs, hasAgents }: { readonly hasJobs: boolean; readonly hasAgents: boolean },
): MonotonicJob[] {
  const { fleetClock, inJobsTransaction: inTransaction } = storage;
  const watch = createManagerWatch({
    node: config.node,
    ledger,
    lag: hasJobs ? lag : undefined,
    clocksBesideMs: () => heartbeats.clocksBesideMs(),
    alerts,
    inTransaction,
    fleetClock,
  });
  return [
    ...clockJobs({ inTransaction, fleetClock }),
    ...(hasAgents ? listeningJobs(ledger, portWatch) : []),
    ...(hasJobs || hasAgents ? watchJobs(watch) : []),
    ...certificateJobs(managerCertificate),
    ...(deadMan ? deadManJobs(deadMan) : []),
  ];
}
