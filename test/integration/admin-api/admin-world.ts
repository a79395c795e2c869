import { mkdtempSync, rmSync } from 'node:fs';
import { request as httpRequest } from 'node:http';
import { request as httpsRequest } from 'node:https';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { ConnectionOptions } from 'node:tls';
import { Registry } from 'prom-client';
import { createSystemClock, type Clock } from '../../../lib/clock.js';
import { createLog } from '../../../lib/log.js';
import { Problem } from '../../../lib/problem.js';
import { createSystemRandom } from '../../../lib/random.js';
import type { AccessRules } from '../../../server/access/access-rules.js';
import type { Role } from '../../../server/access/actor.js';
import { createAdminServer, type AdminServer, type AdminTls } from '../../../server/admin-api/admin-server.js';
import { composeAdminApi, type AdminApi } from '../../../server/admin-api/compose-admin-api.js';
import type { ReadinessCheck } from '../../../server/admin-api/readiness-check.js';
import { defineRoute, type RouteDefinition } from '../../../server/admin-api/route.js';
import { createAuditLog } from '../../../server/audit/index.js';
import { createUnitOfWork } from '../../../server/database/in-transaction.js';
import { sqlOfClient } from '../../../server/database/sql.js';
import { createPasswordHasher } from '../../../server/users/index.js';
import { createApiClient, type ApiClient } from '../../support/api-client.js';
import type { TestDatabase } from '../../support/database.js';

export const ADMIN_PASSWORD = 'correct horse battery';

export interface AdminWorld {
  readonly url: string;
  readonly api: AdminApi;
  readonly dataDir: string;
  /** A new client that is not signed in. */
  client(): ApiClient;
  /** The administrator `admin`. */
  admin(): Promise<ApiClient>;
  /** Headers of an API key with the role. */
  bearer(role: Role): Promise<Record<string, string>>;
  /** Moves wall and monotonic time of the server. */
  advance(ms: number): void;
  /** Sends exactly these bytes and headers. */
  raw(options: RawRequest): Promise<RawAnswer>;
  close(): Promise<void>;
}

export interface RawRequest {
  readonly method: string;
  readonly path: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string | Buffer;
  readonly clientTls?: ConnectionOptions;
}

export interface RawAnswer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly text: string;
}

export interface WorldOptions {
  readonly checks?: readonly ReadinessCheck[];
  readonly adminOrigin?: string;
  readonly rules?: AccessRules;
  readonly tls?: AdminTls;
  /** Beside those that every world has. */
  readonly routes?: readonly RouteDefinition[];
  /** Options of the client's TLS connections. */
  readonly clientTls?: ConnectionOptions;
}

/** The real application on a real port and database, with scrypt at a low cost. */
export async function startAdminWorld(database: TestDatabase, options: WorldOptions = {}): Promise<AdminWorld> {
  const clock = movableClock();
  const random = createSystemRandom();
  const log = createLog({ name: 'test', level: 'silent' });
  const dataDir = mkdtempSync(join(tmpdir(), 'wardbeat-test-'));
  const api = composeAdminApi({
    clock,
    random,
    log,
    dataDir,
    accessKey: random.bytes(32),
    ...(options.rules ? { rules: options.rules } : {}),
    inTransaction: createUnitOfWork(database.dataSource, { clock, random }),
    sql: sqlOfClient(database.pool),
    audit: createAuditLog({ clock, random }),
    passwords: createPasswordHasher({ random, log2N: 10 }),
    secure: options.tls !== undefined,
    adminOrigin: options.adminOrigin,
    version: '0.0.0',
    routes: [...TEST_ROUTES, ...(options.routes ?? [])],
    checks: options.checks ?? [],
    metrics: new Registry(),
  });
  await api.firstAdministrator.ensure({ password: ADMIN_PASSWORD });
  const server = createAdminServer({ host: '127.0.0.1', port: 0, tls: options.tls ?? null, app: api.app, clock, log });
  await server.start();
  const clientTls = options.clientTls ?? {};
  return worldOf({ server, api, dataDir, clientTls, advance: clock.advance });
}

interface Started {
  readonly server: AdminServer;
  readonly api: AdminApi;
  readonly dataDir: string;
  readonly clientTls: ConnectionOptions;
  readonly advance: (ms: number) => void;
}

function worldOf({ server, api, dataDir, clientTls, advance }: Started): AdminWorld {
  const url = server.url();
  let keysMade = 0;
  const client = () => createApiClient(url);
  const admin = async () => {
    const signedIn = client();
    await signedIn.signIn('admin', ADMIN_PASSWORD);
    return signedIn;
  };
  return {
    url,
    api,
    dataDir,
    client,
    admin,
    advance,
    async bearer(role) {
      keysMade += 1;
      const made = await (await admin()).post<{ key: string }>('/api-keys', { name: `test ${role} ${keysMade}`, role });
      return { authorization: `Bearer ${made.key}` };
    },
    raw: (request) => sendRaw(url, { clientTls, ...request }),
    async close() {
      await server.stop();
      rmSync(dataDir, { recursive: true, force: true });
    },
  };
}

function movableClock(): Clock & { advance(ms: number): void } {
  const system = createSystemClock();
  let offset = 0;
  return {
    ...system,
    wall: () => system.wall() + offset,
    monotonic: () => system.monotonic() + offset,
    advance: (ms) => (offset += ms),
  };
}

/** Beside the real routes: one that takes free data under If-Match, one with a bug, one without its database. */
const TEST_ROUTES = [
  defineRoute({
    method: 'patch',
    path: '/test-things/:id',
    permission: 'operator',
    summary: 'Free data',
    tag: 'test',
    body: { free: { type: 'object' } },
    needsIfMatch: true,
    reply: { status: 200, body: { free: { type: 'object' } } },
    handle: async ({ body, ifMatch }) => ({ body: { got: body }, revision: (ifMatch ?? 0) + 1 }),
  }),
  defineRoute({
    method: 'post',
    path: '/test-authority',
    permission: 'administrator',
    proof: 'person',
    summary: 'What somebody has to prove himself for',
    tag: 'test',
    reply: { status: 204 },
    handle: async () => ({}),
  }),
  defineRoute({
    method: 'get',
    path: '/test-bug',
    permission: 'auditor',
    summary: 'A bug',
    tag: 'test',
    reply: { status: 200 },
    handle: () => Promise.reject(new Error('the secret reason')),
  }),
  defineRoute({
    method: 'get',
    path: '/test-database-away',
    permission: 'auditor',
    summary: 'The database is away',
    tag: 'test',
    reply: { status: 200 },
    handle: () => Promise.reject(Object.assign(new Error('connect ECONNREFUSED'), { code: 'ECONNREFUSED' })),
  }),
  defineRoute({
    method: 'get',
    path: '/test-overloaded',
    permission: 'auditor',
    summary: 'Too much',
    tag: 'test',
    reply: { status: 200 },
    handle: () => Promise.reject(new Problem('too-many-requests', { retryAfterSeconds: 7 })),
  }),
];

export function sendRaw(url: string, { method, path, headers = {}, body, clientTls }: RawRequest): Promise<RawAnswer> {
  const { hostname, port, protocol } = new URL(url);
  const send = protocol === 'https:' ? httpsRequest : httpRequest;
  return new Promise((resolve, reject) => {
    const options = { ...clientTls, host: hostname, port, method, path, headers, agent: false } as const;
    const request = send(options, (response) => {
      const chunks: Buffer[] = [];
      response.on('data', (chunk: Buffer) => chunks.push(chunk));
      response.on('end', () =>
        resolve({
          status: response.statusCode ?? 0,
          headers: response.headers,
          text: Buffer.concat(chunks).toString('utf8'),
        }),
      );
      response.on('error', reject);
    });
    request.on('error', reject);
    request.end(body);
  });
}

/** The status line's code that a server answers to these bytes. */
export function statusOfBytes(url: string, bytes: string): Promise<number> {
  const { hostname, port } = new URL(url);
  return new Promise((resolve, reject) => {
    const socket = connect(Number(port), hostname, () => socket.write(bytes));
    socket.on('error', reject);
    socket.once('data', (data: Buffer) => {
      socket.destroy();
      resolve(Number(/^HTTP\/1\.1 (\d{3})/.exec(data.toString('latin1'))?.[1]));
    });
  });
}
