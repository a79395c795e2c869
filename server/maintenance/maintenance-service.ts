import { parseRfc3339 } from '../../lib/clock.js';
import { invalidFields, Problem } from '../../lib/problem.js';
import type { Random } from '../../lib/random.js';
import type { Scope } from '../access/scope.js';
import type { AuditLog } from '../audit/audit.js';
import type { UnitOfWork } from '../database/in-transaction.js';
import { sqlOfManager, type Sql } from '../database/sql.js';
import type { FleetClock } from '../fleet-clock/fleet-clock.js';
import type { Caller } from '../policies/forest-edit.js';
import { isPolicyVisible } from '../policies/index.js';
import { labelFilterText } from '../computers/computer-rules.js';
import { endWindow, findComputer, insertWindow, lockWindow, removeWindow } from './maintenance-repository.js';
import { scopeFaults, targetFaults, timeFaults, type WindowRequest } from './maintenance-request.js';
import { windowStateOf, type MaintenanceOrder } from './maintenance-window.js';

export interface MaintenanceServiceDeps {
  readonly clock: Pick<FleetClock, 'fleet' | 'toWall'>;
  readonly random: Random;
  readonly inTransaction: UnitOfWork;
  readonly audit: AuditLog;
}

export interface MaintenanceService {
  /** Throws `request-invalid`, `computer-not-found` and `policy-not-found`. */
  create(caller: Caller, request: WindowRequest): Promise<MaintenanceOrder>;
  /**
   * Ends one that has begun at this instant, and forgets one that has not. Throws `maintenance-window-not-found`, also
   * for one that is over: what was, stays; `beyond-scope` for one that others made for a label alone.
   */
  end(caller: Caller, id: string): Promise<void>;
}

export function createMaintenanceService(deps: MaintenanceServiceDeps): MaintenanceService {
  return {
    create(caller, request) {
      const now = deps.clock.toWall(deps.clock.fleet());
      const order = toOrder(request, {
        id: deps.random.uuid(),
        now,
        createdBy: caller.actor.name,
        scope: caller.scope,
      });
      return deps.inTransaction(async (manager) => {
        const sql = sqlOfManager(manager);
        await assertTarget(sql, caller.scope, order);
        await insertWindow(sql, order);
        const entry = { actor: caller.actor, action: 'maintenance-window.created', subjectType: 'maintenance-window' };
        await deps.audit.append(sql, { ...entry, subjectId: order.id, after: audited(order) });
        return order;
      });
    },
    async end(caller, id) {
      const now = deps.clock.toWall(deps.clock.fleet());
      await deps.inTransaction(async (manager) => {
        const sql = sqlOfManager(manager);
        const order = await lockWindow(sql, caller.scope, id);
        const state = order && windowStateOf(order, now);
        if (!order || state === 'over')
          throw new Problem('maintenance-window-not-found', order ? { detail: 'It is over already.' } : {});
        const endsAt = new Date(now);
        if (state === 'active') await endWindow(sql, id, endsAt);
        else await removeWindow(sql, id);
        await deps.audit.append(sql, {
          actor: caller.actor,
          action: state === 'active' ? 'maintenance-window.ended' : 'maintenance-window.deleted',
          subjectType: 'maintenance-window',
          subjectId: id,
          before: audited(order),
          ...(state === 'active' ? { after: audited({ ...order, endsAt }) } : {}),
        });
      });
    },
  };
}

interface Making {
  readonly id: string;
  readonly now: number;
  readonly createdBy: string;
  readonly scope: Scope;
}

function toOrder(request: WindowRequest, { id, now, createdBy, scope }: Making): MaintenanceOrder {
  const { computerId = null, policyId = null, label, comment } = request;
  const startsAt = request.startsAt === undefined ? now : (parseRfc3339(request.startsAt) ?? Number.NaN);
  const endsAt = parseRfc3339(request.endsAt) ?? Number.NaN;
  const errors = [
    ...targetFaults(request),
    ...scopeFaults(request, scope),
    ...timeFaults(request, { now, isSound: () => true }),
  ];
  if (errors.length > 0) throw invalidFields(errors);
  return {
    id,
    computerId,
    policyId,
    label: label === undefined ? null : labelFilterText(label),
    startsAt: new Date(startsAt),
    endsAt: new Date(endsAt),
    comment,
    createdAt: new Date(now),
    createdBy,
  };
}

async function assertTarget(sql: Sql, scope: Scope, { computerId, policyId }: MaintenanceOrder): Promise<void> {
  if (computerId !== null && !(await findComputer(sql, scope, computerId))) throw new Problem('computer-not-found');
  if (policyId === null) return;
  const exists = await sql.query('SELECT 1 AS yes FROM policies WHERE policies.id = $1 FOR KEY SHARE', [policyId]);
  if (exists.length === 0 || !(await isPolicyVisible(sql, scope, policyId))) throw new Problem('policy-not-found');
}

function audited({ computerId, policyId, label, startsAt, endsAt, comment }: MaintenanceOrder): object {
  const target = { computerId, policyId, label };
  return { ...target, startsAt: startsAt.toISOString(), endsAt: endsAt.toISOString(), comment };
}
