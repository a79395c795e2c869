import { createSystemRandom } from '../../lib/random.js';
import { COMMANDS_CAPABILITY } from '../../protocol/command-messages.js';
import type { Orders, Report } from '../../protocol/heartbeat-messages.js';
import { commandRoutes, createCommandJob, createUploads } from '../../server/agent-commands/index.js';
import { createPoolUnitOfWork, createUnitOfWork } from '../../server/database/in-transaction.js';
import { sqlOfClient } from '../../server/database/sql.js';
import { createOperationFeed, operationRoutes } from '../../server/operations/index.js';
import { createClaimedJob } from '../../server/scheduler/claimed-job.js';
import type { TestDatabase } from './database.js';
import { callerOf, createRecordingAudit } from './domain-world.js';
import { addComputers, createIngestWorld, handClock, seedForest } from './ingest-world.js';

export interface ShownCommand {
  readonly id: string;
  readonly computerId: string;
  readonly number: number;
  readonly type: string;
  readonly state: string;
  readonly reason: string | null;
  readonly result: unknown;
  readonly file: { readonly bytes: number; readonly isComplete: boolean } | null;
  readonly delivery: { readonly how: string; readonly at: string | null } | null;
  readonly deliveredAt: string | null;
  readonly acknowledgedAt: string | null;
  readonly startedAt: string | null;
  readonly endedAt: string | null;
}

/** The manager's commands on a real database, with computers whose reports a test makes up; time is moved by hand. */
export async function startCommandWorld(database: TestDatabase) {
  const { pool } = database;
  await seedForest(pool);
  const clock = handClock();
  const random = createSystemRandom();
  const woken: string[] = [];
  const wake = (ids: readonly string[]): void => void woken.push(...ids);
  const audit = createRecordingAudit({ clock, random });
  const inTransaction = createUnitOfWork(database.dataSource, { clock, random });
  const inPoolTransaction = createPoolUnitOfWork(pool, { clock, random });
  const inHot: Parameters<typeof createUploads>[0]['inTransaction'] = (work, options) =>
    inPoolTransaction((client) => work(sqlOfClient(client)), options);
  const sql = sqlOfClient(pool);
  const shared = { clock, random, sql, inTransaction, audit, wake };
  const ingest = createIngestWorld(pool, { clock });
  const job = createCommandJob({
    job: createClaimedJob({ name: 'commands', owner: 'node-1', inTransaction: inHot, fleetClock: clock }),
    inTransaction: inHot,
    clock,
    wake,
    feed: createOperationFeed({ clock, random, audit }),
  });
  const call = callerOf([...commandRoutes(shared), ...operationRoutes(shared)]);
  const path = '/computers/:id/commands';
  return {
    pool,
    clock,
    audit,
    woken,
    ingest,
    call,
    job,
    upload: createUploads({ inTransaction: inHot, clock }),
    addComputers: (count: number) => addComputers(pool, count),
    runJob: () => job.run(new AbortController().signal),
    queue: (id: string, body: object) => call<ShownCommand>('post', path, { params: { id }, body }),
    get: async (id: string) => (await call<ShownCommand>('get', '/commands/:id', { params: { id } })).body,
    cancel: (id: string) => call<ShownCommand>('post', '/commands/:id/cancel', { params: { id } }),
    beat: (id: string, changes: Partial<Report> = {}): Promise<Orders> =>
      ingest.beat(id, { capabilities: [COMMANDS_CAPABILITY], ...changes }),
  };
}

export type CommandWorld = Awaited<ReturnType<typeof startCommandWorld>>;
