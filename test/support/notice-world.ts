import { createLog } from '../../lib/log.js';
import { createAlertOutbox } from '../../server/alerts/alert-outbox.js';
import type { AlertCondition } from '../../server/alerts/alert.js';
import { composeAlerts } from '../../server/alerts/compose-alerts.js';
import type { AlertReply } from '../../server/alerts/alert-dto.js';
import { createNoticeJob } from '../../server/alerts/notices/notice-job.js';
import type { Page } from '../../server/admin-api/page.js';
import { createHotTransaction, type HotTransaction } from '../../server/database/hot-transaction.js';
import { createPoolUnitOfWork } from '../../server/database/in-transaction.js';
import type { DeafSpan } from '../../server/listening/listening.js';
import type { Notice } from '../../server/notifications/notice.js';
import { createClaimedJob } from '../../server/scheduler/claimed-job.js';
import type { TestDatabase } from './database.js';
import { startComputers } from './computer-world.js';
import { callerOf } from './domain-world.js';

/** Computers, their alerts and the job that decides what is told, over one real database and one hand-moved clock. */
export async function startNotices(database: TestDatabase) {
  const computers = await startComputers(database);
  const { clock, random, sql, inTransaction, audit, statuses, cache, maintenance } = computers;
  const statements: string[] = [];
  const uncounted = createHotTransaction(createPoolUnitOfWork(database.pool, { clock, random }));
  const hot: HotTransaction = (work, options) =>
    uncounted(
      (within) => work({ query: (text, values) => (statements.push(text), within.query(text, values)) }),
      options,
    );
  const outbox = createAlertOutbox({ random });
  const covered = { lock: async () => undefined, uncover: async () => undefined };
  const alertRoutes = composeAlerts({ sql, inTransaction, fleetClock: clock, audit, covered, outbox }).routes;
  const call = callerOf([...computers.routes, ...alertRoutes]);
  const told: Notice[] = [];
  let failing = false;
  let spans: readonly DeafSpan[] = [];
  const makeJob = (owner: string) =>
    createNoticeJob({
      job: createClaimedJob({ name: 'notices', owner, inTransaction: hot, fleetClock: clock }),
      sql,
      fleetClock: clock,
      cache,
      maintenance,
      spans: () => spans,
      notifier: {
        async enqueue(_sql, notices) {
          if (failing) throw new Error('no channel can be written');
          told.push(...notices);
        },
      },
      log: createLog({ name: 'test', level: 'silent' }),
      batchSize: 50,
    });
  const job = makeJob('n1');
  const run = (which = job) => which.run(new AbortController().signal);
  const transition = async (ids: readonly string[], isOffline: boolean, raisedAt = clock.fleet()) => {
    const at = clock.fleet();
    await hot((within) =>
      statuses.apply(
        within,
        [...ids].sort().map((computerId) => ({
          computerId,
          from: isOffline ? ('late' as const) : ('offline' as const),
          to: isOffline ? ('offline' as const) : ('online' as const),
          reason: isOffline ? 'unknown' : 'in-contact',
          since: at,
          offlineAt: isOffline ? raisedAt : null,
          offlineAlert: isOffline ? { raisedAt, reason: 'unknown' } : null,
        })),
        at,
      ),
    );
  };
  return {
    ...computers,
    call,
    job,
    makeJob,
    run,
    hot,
    /** Every statement that a transaction of the job or of `hot` has made. */
    statements,
    outbox,
    told,
    setSpans(known: readonly DeafSpan[]): void {
      spans = known;
    },
    setFailing: (fails: boolean) => void (failing = fails),
    /** Stores that they are offline since now, and their alerts. */
    fail: (ids: readonly string[], raisedAt?: number) => transition(ids, true, raisedAt),
    /** Stores a report of each, and what it ends. */
    async recover(ids: readonly string[]): Promise<void> {
      for (const id of ids) await computers.hear(id);
      await transition(ids, false);
    },
    /** Lets time pass and the job run each second of it, or less often. */
    async pass(ms: number, everyMs = 1000): Promise<void> {
      for (let left = ms; left > 0; left -= everyMs) {
        clock.advance(Math.min(everyMs, left));
        await run();
      }
    },
    /** The kinds of what was told since the last call, in order. */
    heard(): string[] {
      return told.splice(0).map(({ kind }) => kind);
    },
    raise: (conditions: readonly AlertCondition[]) => hot((within) => computers.alerts.raise(within, conditions)),
    async alerts(query: object = {}): Promise<readonly AlertReply[]> {
      return (await call<Page<AlertReply>>('get', '/alerts', { query })).body.items;
    },
    async act(alertId: string, act: string, body: object = {}): Promise<AlertReply> {
      return (await call<AlertReply>('post', `/alerts/:id/${act}`, { params: { id: alertId }, body })).body;
    },
  };
}

export type NoticeWorld = Awaited<ReturnType<typeof startNotices>>;
