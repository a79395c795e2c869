import { expect } from 'chai';
import { agentTarget, enrollComputer, type EnrolledComputer } from '../support/enrolled-computer.js';
import { call, type CallAnswer, type CallTarget } from '../support/http-call.js';
import {
  ADMIN_PASSWORD,
  makeDataDir,
  removeDataDir,
  startManager,
  type ManagerProcess,
} from '../support/manager-process.js';

type Headers = Readonly<Record<string, string>>;
const ROLES = ['auditor', 'operator', 'administrator'] as const;
type Role = (typeof ROLES)[number];
type Permission = Role | 'public';

interface Operation {
  readonly method: string;
  /** As in the document, with `{id}`. */
  readonly path: string;
  readonly permission: Permission;
}

const UNKNOWN_ID = '7d2f6a52-3b6c-4d0e-9a59-2f0f5a1b2c3d';
const JSON_TYPE = { 'content-type': 'application/json' };
const IF_MATCH = { 'if-match': '"1"' };

/** The sentence of the contract, said once more and not read from the routes; the first row that fits counts. */
const DEMANDED: readonly (readonly [RegExp, Permission])[] = [
  [/^(GET \/openapi\.json|POST \/sessions)$/, 'public'],
  [/^GET /, 'auditor'],
  [/ \/(sessions\/|users\/current\/)/, 'auditor'],
  [/ \/(enrollment-tokens|api-keys|users|system|notification-(channels|routes|deliveries))\b/, 'administrator'],
  [/^POST .*\/revoke$/, 'administrator'],
  [/^DELETE \/computers\/\{id\}$/, 'administrator'],
  [/ \/(policies|computers|alerts|maintenance-windows|commands|operations)\b/, 'operator'],
];

function demanded({ method, path }: Pick<Operation, 'method' | 'path'>): Permission {
  const [, permission] = DEMANDED.find(([fits]) => fits.test(`${method} ${path}`)) ?? [];
  if (!permission) throw new Error(`The contract says nothing of ${method} ${path}`);
  return permission;
}

/** A body that each route with an id takes, so that only the id can be what is wrong. */
const BODIES: Readonly<Record<string, object>> = {
  'PATCH /policies/{id}': { name: 'x' },
  'PATCH /policies/{id}/settings': { heartbeatIntervalSeconds: 60 },
  'PUT /policies/{id}/locks/{key}': { mode: 'locked' },
  'POST /policies/{id}/rollback': { revision: 1 },
  'POST /policies/{id}/rehearse': { days: 1 },
  'PATCH /computers/{id}': { name: 'x' },
  'PATCH /computers/{id}/settings': { heartbeatIntervalSeconds: 60 },
  'PUT /computers/{id}/power-state': { state: 'running' },
  'POST /computers/{id}/commands': { type: 'ping' },
  'POST /computers/{id}/release-code': {},
  'POST /commands/{id}/cancel': {},
  'POST /operations/{id}/cancel': {},
  'POST /alerts/{id}/acknowledge': {},
  'POST /alerts/{id}/dismiss': {},
  'POST /alerts/{id}/snooze': { until: new Date(Date.now() + 3_600_000).toISOString() },
  'POST /alerts/{id}/comment': { comment: 'x' },
  'POST /alerts/{id}/assign': { assignee: null },
  'PATCH /users/{id}': { role: 'auditor' },
  'PATCH /notification-channels/{id}': { name: 'x' },
  'PATCH /notification-routes/{id}': { name: 'x' },
};

const pathOf = ({ path }: Operation) =>
  `/api/v1${path.replaceAll('{id}', UNKNOWN_ID).replaceAll('{key}', 'heartbeatIntervalSeconds')}`;

describe('who may do what, on the real manager over TLS', function () {
  this.timeout(120_000);
  const root = makeDataDir();
  let manager: ManagerProcess;
  let admin: CallTarget;
  let agents: CallTarget;
  let computer: EnrolledComputer;
  let operations: readonly Operation[];
  let session: Headers;
  const keys = new Map<Role, Headers>();
  const failed: string[] = [];

  async function ask(target: CallTarget, operation: Operation, headers: Headers = {}): Promise<CallAnswer> {
    const { method } = operation;
    const body = method === 'GET' ? undefined : JSON.stringify(BODIES[`${method} ${operation.path}`] ?? {});
    const typed = body === undefined ? headers : { ...JSON_TYPE, ...IF_MATCH, ...headers };
    const answer = await call(target, { method, path: pathOf(operation), headers: typed, body });
    if (answer.status >= 500) failed.push(`${method} ${operation.path}: ${answer.text}`);
    return answer;
  }

  const post = async (path: string, body: object, headers: Headers) => {
    const request = { method: 'POST', path: `/api/v1${path}`, body: JSON.stringify(body) };
    const answer = await call(admin, { ...request, headers: { ...JSON_TYPE, ...headers } });
    expect(answer.status, answer.text).to.equal(201);
    return answer;
  };

  async function signIn(): Promise<Headers> {
    const { headers, body } = await post('/sessions', { name: 'admin', password: ADMIN_PASSWORD }, {});
    const cookie = headers['set-cookie']?.[0]?.split(';')[0] ?? '';
    expect(cookie).to.match(/^__Host-wardbeat=./);
    return { cookie, 'x-csrf-token': String(body['csrfToken']) };
  }

  async function readOperations(): Promise<readonly Operation[]> {
    const { status, body } = await call(admin, { method: 'GET', path: '/api/v1/openapi.json' });
    expect(status).to.equal(200);
    return Object.entries(body['paths'] as Record<string, Record<string, Record<string, unknown>>>).flatMap(
      ([path, methods]) =>
        Object.entries(methods).map(([method, operation]) => ({
          method: method.toUpperCase(),
          path: path.replace('/api/v1', ''),
          permission: operation['x-permission'] as Permission,
        })),
    );
  }

  before(async () => {
    manager = await startManager({ dataDir: root, env: { WARDBEAT_ADMIN_HOST: '0.0.0.0' } });
    agents = await agentTarget(manager);
    admin = { ...agents, port: Number(new URL(manager.adminUrl).port) };
    session = await signIn();
    for (const role of ROLES) {
      const { body } = await post('/api-keys', { name: role, role }, session);
      keys.set(role, { authorization: `Bearer ${String(body['key'])}` });
    }
    const { body } = await call(admin, { method: 'GET', path: '/api/v1/policies', headers: session });
    const [{ id: policyId } = { id: '' }] = body['items'] as { id: string }[];
    const created = await post('/enrollment-tokens', { policyId, uses: 1, expiresInSeconds: 600 }, session);
    computer = await enrollComputer(agents, { token: String(created.body['token']), name: 'web1' });
    operations = await readOperations();
  });

  after(async () => {
    await manager?.stop();
    removeDataDir(root);
  });

  it('every operation declares the permission that the contract demands', () => {
    expect(operations.length).to.be.greaterThan(40);
    const differing = operations.filter((operation) => operation.permission !== demanded(operation));
    expect(differing).to.deep.equal([]);
  });

  it('without a credential everything but the public answers 401', async () => {
    for (const operation of operations) {
      const answer = await ask(admin, operation);
      const expected = operation.permission === 'public' ? [200, 400] : [401];
      expect(answer.status, `${operation.method} ${operation.path}`).to.be.oneOf(expected);
      if (answer.status === 401) expect(answer.body['type']).to.equal('/problems/not-authenticated');
    }
  });

  for (const role of ROLES)
    it(`a key of the role ${role} is admitted where its role is included, and nowhere else`, async () => {
      for (const operation of operations) {
        const answer = await ask(admin, operation, keys.get(role));
        const name = `${operation.method} ${operation.path}: ${answer.text.slice(0, 200)}`;
        const needed = operation.permission === 'public' ? 0 : ROLES.indexOf(operation.permission);
        if (ROLES.indexOf(role) >= needed) expect(answer.status, name).not.to.be.oneOf([401, 403]);
        else expect([answer.status, answer.body['type']], name).to.deep.equal([403, '/problems/forbidden']);
      }
    });

  it("an agent's certificate is no credential on the admin port", async () => {
    for (const operation of operations) {
      const answer = await ask({ ...admin, ...computer.identity }, operation);
      const expected = operation.permission === 'public' ? [200, 400] : [401];
      expect(answer.status, `${operation.method} ${operation.path}`).to.be.oneOf(expected);
    }
  });

  it('on the agent port every admin path is forbidden, with a cookie or a key copied in too (T2)', async () => {
    const port = { ...agents, ...computer.identity };
    const administrator = keys.get('administrator') ?? {};
    for (const credential of [{}, session, administrator, { ...session, ...administrator }])
      for (const operation of operations) {
        const answer = await ask(port, operation, credential);
        const name = `${operation.method} ${operation.path}`;
        expect([answer.status, answer.body['type']], name).to.deep.equal([403, '/problems/forbidden']);
        expect(answer.headers['content-type']).to.equal('application/problem+json');
      }
  });

  it('a cookie changes nothing without its CSRF token, and a wrong secret is nobody', async () => {
    const changing = operations.filter(({ method, permission }) => method !== 'GET' && permission !== 'public');
    for (const operation of changing) {
      const answer = await ask(admin, operation, { cookie: session['cookie'] ?? '' });
      expect([answer.status, answer.body['type']]).to.deep.equal([403, '/problems/csrf-token-invalid']);
    }
    const wrong = [{ cookie: '__Host-wardbeat=x' }, { authorization: 'Bearer wbk_x' }, { authorization: 'Basic eDp5' }];
    for (const operation of operations.filter(({ permission }) => permission !== 'public'))
      for (const headers of wrong) expect((await ask(admin, operation, headers)).status).to.equal(401);
  });

  it('every id that is unknown answers 404', async () => {
    for (const operation of operations.filter(({ path }) => path.includes('{id}'))) {
      const answer = await ask(admin, operation, keys.get('administrator'));
      const name = `${operation.method} ${operation.path}`;
      expect(answer.status, `${name}: ${answer.text}`).to.equal(404);
      expect(answer.body['type'], name)
        .to.match(/^\/problems\/[a-z-]+-not-found$/)
        .and.not.equal('/problems/route-not-found');
    }
  });

  it('a route that does not exist answers 404, to anybody', async () => {
    for (const headers of [{}, keys.get('administrator') ?? {}]) {
      const { status, body } = await call(admin, { method: 'GET', path: '/api/v1/nothing', headers });
      expect([status, body['type']]).to.deep.equal([404, '/problems/route-not-found']);
    }
  });

  it('nothing of it answered 5xx', () => {
    expect(failed).to.deep.equal([]);
    expect(manager.output()).not.to.contain('request failed');
  });
});
