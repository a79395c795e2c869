import { toRfc3339 } from '../../lib/clock.js';
import { Problem } from '../../lib/problem.js';
import { effectiveValues } from '../../policies/resolve-settings.js';
import type { Scope } from '../access/scope.js';
import { defineRoute, type RouteDefinition } from '../admin-api/route.js';
import type { ReleaseCodes } from '../agent-commands/index.js';
import type { AuditLog } from '../audit/audit.js';
import type { UnitOfWork } from '../database/in-transaction.js';
import { sqlOfManager, type Sql } from '../database/sql.js';
import type { FleetClock } from '../fleet-clock/fleet-clock.js';
import type { PolicySettingsCache } from '../policies/index.js';
import type { Caller } from '../policies/forest-edit.js';
import { FirewallDto, ReleaseCodeDto } from './firewall-dto.js';
import { findFirewall, findIsolation, type FirewallRow } from './firewall-query.js';
import { viewFirewall } from './firewall-view.js';

export interface FirewallDeps {
  readonly sql: Sql;
  readonly cache: Pick<PolicySettingsCache, 'refresh' | 'resolvedOf' | 'resolvedOfSubject'>;
  readonly clock: Pick<FleetClock, 'toWall'>;
  readonly inTransaction: UnitOfWork;
  readonly audit: AuditLog;
  readonly releaseCodes: ReleaseCodes;
}

const tag = 'computers';
/** How often a read is repeated when the computer is moved and its policy deleted between its two steps. */
const READ_ATTEMPTS = 3;

/** The firewall of one computer, and the code that ends its isolation. */
export function composeFirewall(deps: FirewallDeps): { readonly routes: readonly RouteDefinition[] } {
  return {
    routes: [
      defineRoute({
        method: 'get',
        path: '/computers/:id/firewall',
        permission: 'auditor',
        reach: 'scope',
        tag,
        summary: 'The rules of its firewall in the order in which they decide, the hidden one among them',
        reply: { status: 200, body: FirewallDto },
        handle: async ({ scope, params }) => ({ body: await readFirewall(deps, scope, params['id'] ?? '') }),
      }),
      defineRoute({
        method: 'post',
        path: '/computers/:id/release-code',
        permission: 'operator',
        reach: 'scope',
        tag,
        summary: 'Show the code that ends its isolation at the computer itself; audited',
        reply: { status: 200, body: ReleaseCodeDto },
        handle: async ({ actor, scope, params }) => ({
          body: await showCode(deps, { actor, scope }, params['id'] ?? ''),
        }),
      }),
    ],
  };
}

async function readFirewall(deps: FirewallDeps, scope: Scope, computerId: string): Promise<FirewallDto> {
  const { sql, cache, clock } = deps;
  for (let attempt = 1; attempt <= READ_ATTEMPTS; attempt += 1) {
    const row = await findFirewall(sql, scope, computerId);
    if (!row) throw new Problem('computer-not-found');
    await cache.refresh();
    if (!cache.resolvedOf(row.policy_id)) continue;
    return viewFirewall(row, effectiveValues(cache.resolvedOfSubject(subjectOf(row))), (instant) =>
      toRfc3339(clock.toWall(instant)),
    );
  }
  throw new Problem('unavailable', { detail: 'The computer is being moved at this moment.', retryAfterSeconds: 1 });
}

function subjectOf({ policy_id: policyId, kind, overrides }: FirewallRow) {
  return { policyId, kind, overrides };
}

async function showCode(deps: FirewallDeps, { actor, scope }: Caller, computerId: string): Promise<ReleaseCodeDto> {
  const { inTransaction, audit, releaseCodes } = deps;
  return inTransaction(async (manager) => {
    const sql = sqlOfManager(manager);
    if (!(await findFirewall(sql, scope, computerId))) throw new Problem('computer-not-found');
    const commandId = await findIsolation(sql, computerId);
    if (commandId === undefined)
      throw new Problem('not-isolated', {
        detail: 'The computer is not isolated: there is no code that would end anything.',
      });
    await audit.append(sql, {
      actor,
      action: 'computer.release-code-shown',
      subjectType: 'computer',
      subjectId: computerId,
      after: { commandId },
    });
    const code = releaseCodes.codeOf(computerId, commandId);
    return { commandId, code, command: `wardbeat-agent release --code ${code}` };
  });
}
