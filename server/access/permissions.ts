import type { RouteDefinition } from '../admin-api/route.js';
import { ROLES, type Role } from './actor.js';

/** The only routes that need no caller: signing in, and the description of the API, which carries no data. */
const PUBLIC_ROUTES: ReadonlySet<string> = new Set(['post /sessions', 'get /openapi.json']);

/** What a role may do in words; shown by the OpenAPI document. */
export const ROLE_MEANINGS: Readonly<Record<Role, string>> = {
  auditor: 'reads everything',
  operator: 'also edits policies and computers, handles alerts and power states',
  administrator: 'also manages tokens, keys, users and the system, revokes and deletes',
};

/** Throws an Error that lists every route without a permission, or public without being one of the few. */
export function assertEveryRouteDeclaresPermission(routes: readonly RouteDefinition[]): void {
  const faults = routes.flatMap((route) => faultOf(route) ?? []);
  if (faults.length > 0) throw new Error(`Routes lack a permission: ${faults.join('; ')}`);
}

function faultOf({ method, path, permission }: RouteDefinition): string | undefined {
  const name = `${method} ${path}`;
  if (permission === 'public') return PUBLIC_ROUTES.has(name) ? undefined : `${name} must not be public`;
  return ROLES.includes(permission) ? undefined : `${name} declares none`;
}
