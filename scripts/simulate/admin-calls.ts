import { isTransientDatabaseError } from '../../server/database/database-errors.js';
import { Problem } from '../../lib/problem.js';
import type { Actor } from '../../server/access/actor.js';
import { Scope } from '../../server/access/scope.js';
import type { AdminRequest, Reply, RouteDefinition } from '../../server/admin-api/route.js';
import type { ManagerLife } from './manager-life.js';

const ADA: Actor = {
  kind: 'user',
  id: '0ada0000-0000-4000-8000-000000000000',
  name: 'ada',
  role: 'administrator',
  sourceAddress: '127.0.0.1',
};

export interface AdminCall {
  readonly method: RouteDefinition['method'];
  readonly path: string;
  readonly params?: Readonly<Record<string, string>>;
  readonly body?: unknown;
  readonly ifMatch?: number;
}

/** Calls a route's handler as the admin port does; the life may end before it answers. */
export async function callAdmin(life: ManagerLife, call: AdminCall): Promise<Reply> {
  const route = life.routes.find(({ method, path }) => method === call.method && path === call.path);
  if (!route) throw new Error(`No route ${call.method} ${call.path}`);
  const request: AdminRequest<unknown, unknown> = {
    actor: ADA,
    scope: Scope.all,
    params: call.params ?? {},
    query: { limit: 50 },
    body: call.body,
    ifMatch: call.ifMatch,
    sessionId: undefined,
    headers: {},
  };
  return life.process.whileAlive(route.handle(request as AdminRequest<never, never>));
}

/** Patches a policy's settings by its present revision; false where the manager could not do it now. */
export function editPolicy(life: ManagerLife, id: string, settings: object): Promise<boolean> {
  const path = '/policies/:id/settings';
  return unlessAway(async () => {
    const { revision = 0 } = await callAdmin(life, { method: 'get', path, params: { id } });
    await callAdmin(life, { method: 'patch', path, params: { id }, body: settings, ifMatch: revision });
  });
}

/** Attaches a computer to another policy; false where the manager could not do it now. */
export function moveComputer(life: ManagerLife, id: string, policyId: string): Promise<boolean> {
  const path = '/computers/:id';
  return unlessAway(async () => {
    const { revision = 0 } = await callAdmin(life, { method: 'get', path, params: { id } });
    await callAdmin(life, { method: 'patch', path, params: { id }, body: { policyId }, ifMatch: revision });
  });
}

/** Tells whether a computer's machine runs; false where the manager could not take it now. */
export function tellPower(life: ManagerLife, id: string, body: object): Promise<boolean> {
  const path = '/computers/:id/power-state';
  return unlessAway(() => callAdmin(life, { method: 'put', path, params: { id }, body }));
}

/** Opens a maintenance window at once; false where the manager could not take it now. */
export function openMaintenance(life: ManagerLife, policyId: string, endsAt: string): Promise<boolean> {
  const body = { policyId, endsAt, comment: 'simulated' };
  return unlessAway(() => callAdmin(life, { method: 'post', path: '/maintenance-windows', body }));
}

async function unlessAway(action: () => Promise<unknown>): Promise<boolean> {
  try {
    await action();
    return true;
  } catch (error) {
    if (isAway(error)) return false;
    throw error;
  }
}

/** What the admin port answers 503 to. */
function isAway(error: unknown): boolean {
  return error instanceof Problem ? error.code === 'unavailable' : isTransientDatabaseError(error);
}
