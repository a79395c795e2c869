import { invalidFields, Problem, type FieldError } from '../../lib/problem.js';
import type { Clock } from '../../lib/clock.js';
import type { Random } from '../../lib/random.js';
import type { Actor } from '../access/actor.js';
import type { Scope } from '../access/scope.js';
import type { Page } from '../admin-api/page.js';
import type { AuditLog } from '../audit/index.js';
import type { UnitOfWork } from '../database/in-transaction.js';
import { sqlOfManager, type Sql } from '../database/sql.js';
import { labelFilterText } from '../computers/computer-rules.js';
import type { CreateRoutingBody, PatchRoutingBody, RoutingsQuery } from './routing-dto.js';
import {
  getRouting,
  holdChannel,
  holdPolicy,
  insertRouting,
  listRoutings,
  lockRouting,
  removeRouting,
  saveRouting,
} from './routing-repository.js';
import type { Routing } from './routing.js';

export interface RoutingServiceDeps {
  readonly clock: Pick<Clock, 'wall'>;
  readonly random: Random;
  readonly inTransaction: UnitOfWork;
  /** Reads outside a transaction. */
  readonly sql: Sql;
  readonly audit: AuditLog;
}

interface Targets {
  readonly policyId?: string | null | undefined;
  readonly channelId?: string | undefined;
}

export interface RoutingChange {
  readonly id: string;
  readonly revision: number | undefined;
  readonly body: PatchRoutingBody;
}

/** All throw `notification-route-not-found`; writes also `name-taken` and, for a channel or policy unknown, `request-invalid`. */
export interface RoutingService {
  list(scope: Scope, query: RoutingsQuery): Promise<Page<Routing>>;
  get(scope: Scope, id: string): Promise<Routing>;
  create(body: CreateRoutingBody, actor: Actor): Promise<Routing>;
  /** Which of them is unknown. */
  targetFaults(targets: Targets): Promise<readonly FieldError[]>;
  /** Throws `revision-stale`. */
  change(change: RoutingChange, actor: Actor): Promise<Routing>;
  remove(id: string, actor: Actor): Promise<void>;
}

const GROUP_SECONDS = 30;

export function createRoutingService(deps: RoutingServiceDeps): RoutingService {
  const inTransaction = <T>(work: (sql: Sql) => Promise<T>): Promise<T> =>
    deps.inTransaction((manager) => work(sqlOfManager(manager)));
  return {
    list: (scope, query) => listRoutings(deps.sql, scope, query),
    get: (scope, id) => getRouting(deps.sql, scope, id),
    create: (body, actor) => inTransaction((sql) => createRouting(deps, sql, { body, actor })),
    targetFaults: (targets) => targetFaults(deps.sql, targets),
    change: (change, actor) => inTransaction((sql) => changeRouting(deps, sql, { change, actor })),
    remove: (id, actor) =>
      inTransaction(async (sql) => {
        const before = await lockRouting(sql, id);
        await removeRouting(sql, id);
        await audit(deps, sql, { actor, action: 'deleted', id, before: audited(before) });
      }),
  };
}

async function createRouting(
  deps: RoutingServiceDeps,
  sql: Sql,
  { body, actor }: { body: CreateRoutingBody; actor: Actor },
): Promise<Routing> {
  const at = new Date(deps.clock.wall());
  const { minSeverity = null, types = null, policyId = null, label = null, repeatMinutes = null } = body;
  const { name, channelId, groupSeconds = GROUP_SECONDS, enabled = true } = body;
  const wanted = { name, channelId, minSeverity, types, policyId, label, groupSeconds, repeatMinutes, enabled };
  const made = { id: deps.random.uuid(), revision: 1, createdAt: at, createdBy: actor.name, updatedAt: at };
  const routing: Routing = spelled({ ...wanted, ...made });
  await holdTargets(sql, routing);
  await insertRouting(sql, routing);
  await audit(deps, sql, { actor, action: 'created', id: routing.id, after: audited(routing) });
  return routing;
}

async function changeRouting(
  deps: RoutingServiceDeps,
  sql: Sql,
  { change, actor }: { change: RoutingChange; actor: Actor },
): Promise<Routing> {
  // The route before its policy, as the removal of a policy has it.
  const before = await lockRouting(sql, change.id);
  if (change.revision !== undefined && change.revision !== before.revision) throw new Problem('revision-stale');
  const changed = spelled({ ...before, ...present(change.body) });
  await holdTargets(sql, changed);
  const after: Routing = { ...changed, revision: before.revision + 1, updatedAt: new Date(deps.clock.wall()) };
  await saveRouting(sql, after);
  await audit(deps, sql, { actor, action: 'changed', id: before.id, before: audited(before), after: audited(after) });
  return after;
}

function spelled(routing: Routing): Routing {
  return { ...routing, label: routing.label === null ? null : labelFilterText(routing.label) };
}

function present(body: PatchRoutingBody): Partial<Routing> {
  return Object.fromEntries(Object.entries(body).filter(([, value]) => value !== undefined));
}

async function holdTargets(sql: Sql, targets: Targets): Promise<void> {
  const faults = await targetFaults(sql, targets);
  if (faults.length > 0) throw invalidFields(faults);
}

async function targetFaults(sql: Sql, { policyId, channelId }: Targets): Promise<readonly FieldError[]> {
  const hasPolicy = typeof policyId !== 'string' || (await holdPolicy(sql, policyId));
  const hasChannel = channelId === undefined || (await holdChannel(sql, channelId));
  return [
    ...(hasPolicy ? [] : [{ pointer: '#/policyId', detail: 'is not a policy' }]),
    ...(hasChannel ? [] : [{ pointer: '#/channelId', detail: 'is not a notification channel' }]),
  ];
}

function audited({ id: _id, createdAt: _at, createdBy: _by, updatedAt: _updated, ...facts }: Routing): object {
  return facts;
}

interface Act {
  readonly actor: Actor;
  readonly action: 'created' | 'changed' | 'deleted';
  readonly id: string;
  readonly before?: object;
  readonly after?: object;
}

async function audit({ audit: log }: RoutingServiceDeps, sql: Sql, { action, id, ...facts }: Act): Promise<void> {
  await log.append(sql, {
    ...facts,
    action: `notification-route.${action}`,
    subjectType: 'notification-route',
    subjectId: id,
  });
}
