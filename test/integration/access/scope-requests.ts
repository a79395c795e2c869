import { randomUUID } from 'node:crypto';
import type { RouteDefinition } from '../../../server/admin-api/route.js';
import type { Kind } from '../../support/scope-model.js';

/** What the id in a path names, by the path's first part. */
const KIND_OF: Readonly<Record<string, Kind>> = {
  alerts: 'alert',
  'api-keys': 'key',
  commands: 'command',
  computers: 'computer',
  'enrollment-tokens': 'token',
  'maintenance-windows': 'window',
  'notification-deliveries': 'delivery',
  'notification-routes': 'route',
  operations: 'operation',
  policies: 'policy',
  users: 'user',
};

/** Throws for a route of which nobody has said what its id names. */
export function kindOf({ path }: Pick<RouteDefinition, 'path'>): Kind {
  const kind = KIND_OF[path.split('/')[1] ?? ''];
  if (!kind) throw new Error(`Nobody has said what the id of ${path} names`);
  return kind;
}

interface List {
  readonly kind: Kind;
  readonly query?: string;
  readonly idsOf?: (body: Record<string, unknown>) => string[];
  /** What is no page tells how many there are, and not which. */
  readonly countOf?: (body: Record<string, unknown>) => unknown;
}

type Tree = { readonly id: string; readonly children: readonly Tree[] };
const flat = (nodes: readonly Tree[]): string[] => nodes.flatMap(({ id, children }) => [id, ...flat(children)]);

/** Whole lists and what they list. */
export const LISTS: Readonly<Record<string, List>> = {
  '/alerts': { kind: 'alert' },
  '/api-keys': { kind: 'key' },
  '/certificates': {
    kind: 'computer',
    idsOf: ({ items }) => (items as { computerId: string }[]).map(({ computerId }) => computerId),
  },
  '/certificates/forecast': { kind: 'computer', countOf: ({ computers }) => computers },
  '/computers': { kind: 'computer' },
  '/enrollment-tokens': { kind: 'token' },
  '/events': { kind: 'event' },
  '/maintenance-windows': { kind: 'window' },
  '/notification-deliveries': { kind: 'delivery' },
  '/notification-routes': { kind: 'route' },
  '/operations': { kind: 'operation' },
  '/policies': { kind: 'policy' },
  '/policies/tree': { kind: 'policy', idsOf: ({ items }) => flat(items as Tree[]) },
  '/reports/availability': { kind: 'computer', query: 'from=2026-11-20T00:00:00Z' },
  '/users': { kind: 'user' },
};

const SOON = '2026-11-22T00:00:00Z';

/** A body that each route with an id takes, so that only the id can be what is wrong. */
export const BODIES: Readonly<Record<string, object>> = {
  'patch /policies/:id': { description: 'x' },
  'patch /policies/:id/settings': { heartbeatIntervalSeconds: 60 },
  'put /policies/:id/locks/:key': { mode: 'locked' },
  'post /policies/:id/rollback': { revision: 1 },
  'post /policies/:id/rehearse': { days: 1 },
  'post /policies/:id/preview': { settings: { heartbeatIntervalSeconds: 30 } },
  'patch /computers/:id': { name: 'x' },
  'patch /computers/:id/settings': { heartbeatIntervalSeconds: 60 },
  'put /computers/:id/power-state': { state: 'running' },
  'post /computers/:id/commands': { type: 'ping' },
  'post /computers/:id/preview': { settings: { heartbeatIntervalSeconds: 30 } },
  'post /alerts/:id/snooze': { until: SOON },
  'post /alerts/:id/comment': { comment: 'x' },
  'post /alerts/:id/assign': { assignee: null },
  'patch /users/:id': { role: 'auditor' },
};

/** What is named and may not be there: an id or a name that the caller sees, and one in whose place others are put. */
export interface Named {
  readonly policy: string;
  readonly computer: string;
  readonly alert: string;
  readonly route: string;
  readonly userName: string;
}

export interface Seen {
  readonly policy: string;
  readonly computer: string;
  readonly alert: string;
  readonly user: string;
}

export interface Request {
  readonly method: string;
  readonly path: string;
  readonly body?: object | undefined;
}

const NEW = { name: `new ${randomUUID()}` };
const PING = { action: { command: { type: 'ping' } }, dryRun: true };
const TOKEN = { uses: 1, expiresInSeconds: 60 };
const USER = { ...NEW, role: 'auditor', password: 'a password of somebody' };
const WINDOW = { endsAt: SOON, comment: 'x' };
const FROM = '/reports/availability?from=2026-11-20T00:00:00Z';

/** Requests in which something of the caller's own names something else, by the route that takes them. */
export function namingRequests(
  seen: Seen,
  { policy, computer, alert, route, userName }: Named,
): Readonly<Record<string, readonly Request[]>> {
  const post = (path: string, body: object): Request => ({ method: 'POST', path, body });
  const patch = (path: string, body: object): Request => ({ method: 'PATCH', path, body });
  const get = (path: string): Request => ({ method: 'GET', path });
  return {
    'post /policies': [post('/policies', { ...NEW, parentId: policy })],
    'patch /policies/:id': [patch(`/policies/${seen.policy}`, { parentId: policy })],
    'delete /policies/:id': [{ method: 'DELETE', path: `/policies/${seen.policy}?reassignTo=${policy}` }],
    'post /policies/:id/preview': [post(`/policies/${seen.policy}/preview`, { parentId: policy })],
    'post /computers': [post('/computers', { ...NEW, policyId: policy })],
    'patch /computers/:id': [patch(`/computers/${seen.computer}`, { policyId: policy })],
    'post /computers/:id/preview': [post(`/computers/${seen.computer}/preview`, { policyId: policy })],
    'post /computers/bulk': [
      post('/computers/bulk', { ...PING, filter: { policyId: policy } }),
      post('/computers/bulk', { ...PING, filter: { computerIds: [computer] } }),
    ],
    'post /enrollment-tokens': [
      post('/enrollment-tokens', { ...TOKEN, policyId: policy }),
      post('/enrollment-tokens', { ...TOKEN, policyId: seen.policy, computerId: computer }),
    ],
    'post /maintenance-windows': [
      post('/maintenance-windows', { ...WINDOW, policyId: policy }),
      post('/maintenance-windows', { ...WINDOW, computerId: computer }),
    ],
    'post /users': [post('/users', { ...USER, policyId: policy })],
    'patch /users/:id': [patch(`/users/${seen.user}`, { policyId: policy })],
    'post /api-keys': [post('/api-keys', { ...NEW, role: 'auditor', policyId: policy })],
    'post /alerts/:id/assign': [post(`/alerts/${seen.alert}/assign`, { assignee: userName })],
    'get /computers': [get(`/computers?policyId=${policy}`)],
    'get /alerts': ['policyId', 'computerId', 'incidentId', 'assignee'].map((member, place) =>
      get(`/alerts?${member}=${encodeURIComponent([policy, computer, alert, userName][place] ?? '')}`),
    ),
    'get /certificates': [get(`/certificates?policyId=${policy}`), get(`/certificates?computerId=${computer}`)],
    'get /certificates/forecast': [get(`/certificates/forecast?policyId=${policy}`)],
    'get /maintenance-windows': [get(`/maintenance-windows?computerId=${computer}`)],
    'get /notification-deliveries': [
      get(`/notification-deliveries?alertId=${alert}`),
      get(`/notification-deliveries?routeId=${route}`),
    ],
    'get /reports/availability': [get(`${FROM}&policyId=${policy}`), get(`${FROM}&computerId=${computer}`)],
  };
}
