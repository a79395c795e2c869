import { defineRoute, type AdminRequest, type RouteDefinition } from '../admin-api/route.js';
import type { AuditLog } from '../audit/audit.js';
import type { UnitOfWork } from '../database/in-transaction.js';
import { sqlOfManager } from '../database/sql.js';
import type { ManagerDrain } from './drain.js';
import { DrainBody, DrainReply } from './system-dto.js';
import type { SystemView } from './system-view.js';

export interface DrainRoutesDeps {
  readonly drain: ManagerDrain;
  readonly view: Pick<SystemView, 'system'>;
  readonly inTransaction: UnitOfWork;
  readonly audit: AuditLog;
  /** This manager's name, which the audit log names. */
  readonly node: string;
}

const tag = 'system';

export function drainRoutes(deps: DrainRoutesDeps): RouteDefinition[] {
  const { drain, view } = deps;
  return [
    defineRoute({
      method: 'post',
      path: '/system/drain',
      permission: 'administrator',
      tag,
      summary: 'Prepare the stop of this manager: verdicts go to others, agents are told to come back afterwards',
      body: DrainBody,
      reply: { status: 200, body: DrainReply },
      async handle({ actor, body: { seconds } }) {
        drain.assertStays();
        await note(deps, actor, { action: 'manager.drain-begun', seconds });
        await drain.begin(seconds);
        return { body: view.system().drain };
      },
    }),
    defineRoute({
      method: 'delete',
      path: '/system/drain',
      permission: 'administrator',
      tag,
      summary: 'The manager stays: verdicts are made again',
      reply: { status: 204 },
      async handle({ actor }) {
        drain.assertStays();
        if (!drain.isOn()) return {};
        await note(deps, actor, { action: 'manager.drain-ended' });
        await drain.end();
        return {};
      },
    }),
  ];
}

function note(
  { inTransaction, audit, node }: DrainRoutesDeps,
  actor: AdminRequest['actor'],
  { action, seconds }: { readonly action: string; readonly seconds?: number },
): Promise<void> {
  const after = seconds === undefined ? {} : { after: { seconds } };
  const entry = { actor, action, subjectType: 'manager', subjectId: node, ...after };
  return inTransaction((manager) => audit.append(sqlOfManager(manager), entry));
}
