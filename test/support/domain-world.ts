import type { DataSource } from 'typeorm';
import { createSystemRandom } from '../../lib/random.js';
import type { FieldError } from '../../lib/problem.js';
import { Problem } from '../../lib/problem.js';
import type { Actor } from '../../server/access/actor.js';
import { Scope } from '../../server/access/scope.js';
import type { AdminRequest, Reply, RouteDefinition } from '../../server/admin-api/route.js';
import type { AuditEntry, AuditLog } from '../../server/audit/audit.js';
import { createAuditLog, type AuditLogDeps } from '../../server/audit/audit-log.js';
import { createUnitOfWork } from '../../server/database/in-transaction.js';
import { sqlOfClient } from '../../server/database/sql.js';
import type { FleetClock } from '../../server/fleet-clock/fleet-clock.js';
import { ensureBasePolicy } from '../../server/policies/base-policy.js';
import { createSettingsCache } from '../../server/policies/cached-settings.js';
import type { TestDatabase } from './database.js';

/** A fleet clock of which a test says what time it is; its fleet instants are wall times less a day. */
export interface TestClock extends FleetClock {
  advance(ms: number): void;
}

const DAY_MS = 86_400_000;
const BEGIN_MS = Date.UTC(2026, 10, 21, 12);

export function createTestClock(): TestClock {
  let now = BEGIN_MS;
  return {
    wall: () => now,
    monotonic: () => now - BEGIN_MS,
    boot: () => now - BEGIN_MS,
    fleet: () => now - DAY_MS,
    toWall: (instant) => instant + DAY_MS,
    toTrusted: (instant) => instant + DAY_MS,
    trustedTime: () => now,
    toFleet: (wallMs) => wallMs - DAY_MS,
    sleep: async (ms) => void (now += ms),
    advance: (ms) => void (now += ms),
  };
}

export const ADA: Actor = {
  kind: 'user',
  id: '0ada0000-0000-4000-8000-000000000000',
  name: 'ada',
  role: 'administrator',
  sourceAddress: '127.0.0.1',
};

/** The audit log, and what it was told. */
export interface RecordingAudit extends AuditLog {
  readonly entries: AuditEntry[];
}

export function createRecordingAudit(deps: AuditLogDeps): RecordingAudit {
  const log = createAuditLog(deps);
  const entries: AuditEntry[] = [];
  const appendAll: AuditLog['appendAll'] = async (sql, added) => {
    await log.appendAll(sql, added);
    entries.push(...added);
  };
  return { entries, append: (sql, entry) => appendAll(sql, [entry]), appendAll };
}

/** What every domain test starts from: the Base Policy on a migrated database of its own. */
export async function startForest(database: TestDatabase) {
  const clock = createTestClock();
  const random = createSystemRandom();
  const audit = createRecordingAudit({ clock, random });
  const dataSource: DataSource = database.dataSource;
  const inTransaction = createUnitOfWork(dataSource, { clock, random });
  const sql = sqlOfClient(database.pool);
  const cache = createSettingsCache({ sql });
  const base = { clock, random, audit, inTransaction, cache };
  const restoreEpoch = random.uuid();
  await ensureBasePolicy({ ...base, restoreEpoch });
  return { ...base, restoreEpoch, sql, manager: dataSource.manager };
}

export type ForestWorld = Awaited<ReturnType<typeof startForest>>;

export interface Call {
  readonly params?: Record<string, string>;
  readonly query?: object;
  readonly body?: unknown;
  readonly ifMatch?: number;
  readonly actor?: Actor;
  readonly scope?: Scope;
}

export type Answer<Body> = Omit<Reply, 'body' | 'revision'> & { readonly body: Body; readonly revision: number };

/** Calls a declared route's handler as the admin port does once it has checked the request. */
export function callerOf(routes: readonly RouteDefinition[]) {
  return async <Body = unknown>(
    method: RouteDefinition['method'],
    path: string,
    call: Call = {},
  ): Promise<Answer<Body>> => {
    const route = routes.find((candidate) => candidate.method === method && candidate.path === path);
    if (!route) throw new Error(`No route ${method} ${path}`);
    const request: AdminRequest<unknown, unknown> = {
      actor: call.actor ?? ADA,
      scope: call.scope ?? Scope.all,
      params: call.params ?? {},
      query: { limit: 50, ...call.query },
      body: call.body,
      ifMatch: call.ifMatch,
      sessionId: undefined,
      headers: {},
    };
    return (await route.handle(request as AdminRequest<never, never>)) as Answer<Body>;
  };
}

/** The code of the problem that a promise is refused with, and its fields. */
export async function problemOf(promise: Promise<unknown>): Promise<{
  readonly code: string;
  readonly members: Readonly<Record<string, unknown>>;
  readonly errors: readonly FieldError[];
  readonly detail: string;
}> {
  try {
    await promise;
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    const { members = {}, errors = [], detail = '' } = error.facts;
    return { code: error.code, members, errors, detail };
  }
  throw new Error('It was expected to be refused');
}
