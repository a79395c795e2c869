import { createCommandJob, createUploads, type CommandJob, type Wake } from './agent-commands/index.js';
import type { AuditLog } from './audit/audit.js';
import type { ChannelWakes } from './channels/index.js';
import type { Config } from './config.js';
import { notifyDials } from './dials/index.js';
import type { DialRequests } from './dials/dial-requests.js';
import type { Edges } from './edges.js';
import type { Storage } from './open-storage.js';
import { createOperationFeed } from './operations/index.js';
import { createClaimedJob } from './scheduler/claimed-job.js';

export interface CommandParts {
  readonly job: CommandJob;
  /** Asks agents to come for their commands, wherever they can be reached from. */
  readonly wake: Wake;
  readonly upload: ReturnType<typeof createUploads>;
}

export interface CommandPartsDeps {
  readonly config: Pick<Config, 'node' | 'roles'>;
  readonly edges: Edges;
  readonly storage: Storage;
  readonly audit: AuditLog;
  readonly dialRequests: DialRequests;
  readonly channelWakes: ChannelWakes;
}

/** What commands need beside the routes: the job, the way to agents, and their uploads. */
export function composeCommands({
  config,
  edges,
  storage,
  audit,
  dialRequests,
  channelWakes,
}: CommandPartsDeps): CommandParts {
  const { fleetClock: clock, inJobsTransaction: inTransaction } = storage;
  const { random, log } = edges;
  const wake: Wake = (computerIds) => {
    channelWakes.wake(computerIds, 'commands');
    if (config.roles.has('agents')) return dialRequests.request(computerIds, 'commands');
    notifyDials(storage.sql, computerIds).catch((error: unknown) =>
      log.debug({ err: error }, 'The dialling process could not be told of commands'),
    );
  };
  const job = createCommandJob({
    job: createClaimedJob({ name: 'commands', owner: config.node, inTransaction, fleetClock: clock }),
    inTransaction,
    clock,
    wake,
    feed: createOperationFeed({ clock, random, audit }),
  });
  return { job, wake, upload: createUploads({ inTransaction, clock }) };
}
