import { createLog } from '../../lib/log.js';
import { createAlertOutbox } from '../../server/alerts/alert-outbox.js';
import { createAlertWriter } from '../../server/alerts/alert-writer.js';
import { createReleaseCodes } from '../../server/agent-commands/index.js';
import type { RouteDefinition } from '../../server/admin-api/route.js';
import { createCertificateRepository } from '../../server/certificates/certificate-repository.js';
import { composeRoutes, type RoutesDeps } from '../../server/compose-routes.js';
import { createHotTransaction } from '../../server/database/hot-transaction.js';
import { createPoolUnitOfWork } from '../../server/database/in-transaction.js';
import { inert } from '../../server/inert.js';
import { createMaintenanceView } from '../../server/maintenance/index.js';
import { composeNotifications } from '../../server/notifications/index.js';
import { createStatusWriter } from '../../server/statuses/status-writer.js';
import { startAdminWorld } from '../integration/admin-api/admin-world.js';
import type { TestDatabase } from './database.js';
import { startForest, type ForestWorld } from './domain-world.js';

/** Members of the object that stand for those of an inert one. */
function over<T extends object>(name: string, members: Readonly<Record<string, unknown>>): T {
  const rest = inert<Record<string, unknown>>(name);
  return new Proxy(members, {
    get: (known, member) => (member in known ? known[String(member)] : rest[String(member)]),
  }) as T;
}

/** Every route of the product over a real database; what would dial, send or watch does nothing. */
function routesOver(database: TestDatabase, forest: ForestWorld): readonly RouteDefinition[] {
  const { clock, random, audit, inTransaction, cache, sql, manager } = forest;
  const log = createLog({ name: 'test', level: 'silent' });
  const alerts = createAlertWriter({ random });
  const nothing = (): void => {};
  const notifications = composeNotifications({
    fleetClock: clock,
    random,
    log,
    sql,
    inTransaction,
    inJobsTransaction: createHotTransaction(createPoolUnitOfWork(database.pool, { clock, random })),
    audit,
    key: random.bytes(32),
    node: 'n1',
    version: '0.0.0',
    adminOrigin: undefined,
    allowedCidrs: undefined,
    database: { host: '127.0.0.1', port: 5 },
  });
  const core = over<RoutesDeps['core']>('core', {
    audit,
    cache,
    alerts,
    notifications,
    statuses: createStatusWriter({ alerts, random, fleetClock: clock }),
    outbox: createAlertOutbox({ random }),
    certificates: createCertificateRepository(),
    ledger: { spans: () => [] },
    maintenance: createMaintenanceView({ cache, clock }),
    hints: { heard: nothing, reconsider: nothing },
    channelWakes: { wake: nothing },
    commands: { wake: nothing },
    releaseCodes: createReleaseCodes(random.bytes(32)),
    authority: { rootFingerprint: 'ab'.repeat(32) },
    drain: { assertStays: nothing, isOn: () => false },
  });
  const deps = over<RoutesDeps>('routes', {
    config: { node: 'n1' },
    storage: { fleetClock: clock, sql, inTransaction, dataSource: { manager } },
    core,
    edges: { random, log },
    agentUrl: () => 'https://manager.example:4120',
    prober: { probe: async () => ({ result: 'unreachable', detail: null, hostUp: null }) },
    system: { system: () => ({}), jobs: () => [] },
    ownCertificates: () => [{ name: 'of somebody else', notAfter: clock.wall() }],
  });
  return composeRoutes(deps).routes;
}

export interface Said {
  readonly status: number;
  readonly text: string;
  readonly body: Record<string, unknown>;
}

export type Headers = Readonly<Record<string, string>>;

/** The whole admin API over HTTP. */
export async function startScopeWorld(database: TestDatabase) {
  const forest = await startForest(database);
  const admin = await startAdminWorld(database, { routes: routesOver(database, forest) });
  const send = async (method: string, path: string, { as, body }: { as: Headers; body?: unknown }): Promise<Said> => {
    const typed = body === undefined ? {} : { 'content-type': 'application/json' };
    const answer = await admin.raw({
      method,
      path: `/api/v1${path}`,
      headers: { ...typed, ...(method === 'GET' ? {} : { 'if-match': '"1"' }), ...as },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    const { status, text } = answer;
    const isJson = String(answer.headers['content-type']).includes('json');
    return { status, text, body: (isJson && text !== '' ? JSON.parse(text) : {}) as Record<string, unknown> };
  };
  const fleet: Headers = await admin.bearer('administrator');
  /** What a creation answers; it must succeed. */
  const make = async <T = { readonly id: string }>(path: string, body: object, as: Headers = fleet): Promise<T> => {
    const answer = await send('POST', path, { as, body });
    if (answer.status >= 300) throw new Error(`POST ${path} answered ${answer.status}: ${answer.text}`);
    return answer.body as T;
  };
  const change = async (path: string, body: object): Promise<void> => {
    const { text } = await send('GET', path, { as: fleet });
    const { revision } = JSON.parse(text) as { revision: number };
    const as = { ...fleet, 'if-match': `"${revision}"` };
    const answer = await send('PATCH', path, { as, body });
    if (answer.status >= 300) throw new Error(`PATCH ${path} answered ${answer.status}: ${answer.text}`);
  };
  return {
    forest,
    admin,
    routes: admin.api.routes,
    fleet,
    send,
    make,
    change,
    query: forest.sql.query.bind(forest.sql),
  };
}

export type ScopeWorld = Awaited<ReturnType<typeof startScopeWorld>>;
