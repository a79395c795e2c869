import { expect } from 'chai';
import { gzipSync } from 'node:zlib';
import { MAX_ENROLL_BYTES } from '../../server/agent-channel/agent-routes.js';
import { MAX_BODY_BYTES } from '../../server/admin-api/request-body.js';
import { MAX_REPORT_BYTES } from '../../protocol/heartbeat-messages.js';
import { AGENT_PATHS } from '../../protocol/protocol-version.js';
import { enrollBody } from '../support/agent-port.js';
import { agentTarget, enrollComputer, type EnrolledComputer } from '../support/enrolled-computer.js';
import { call, type Call, type CallTarget } from '../support/http-call.js';
import {
  ADMIN_PASSWORD,
  makeDataDir,
  removeDataDir,
  startManager,
  type ManagerProcess,
} from '../support/manager-process.js';
import { eventually } from '../support/poll.js';

interface Door {
  readonly name: string;
  readonly target: () => CallTarget;
  readonly request: () => Pick<Call, 'method' | 'path' | 'headers'>;
  /** A body that the route takes. */
  readonly good: () => object;
  readonly maxBytes: number;
  /** A text member of the good body. */
  readonly member: string;
}

interface Attack {
  readonly name: string;
  readonly body: (door: Door) => string | Buffer;
  readonly headers?: Readonly<Record<string, string>>;
  readonly chunked?: true;
  readonly is: readonly [status: number, code: string];
}

const INVALID = [400, 'request-invalid'] as const;
const TOO_LARGE = [413, 'body-too-large'] as const;
const WRONG_TYPE = [415, 'content-type-unsupported'] as const;
const JSON_TYPE = { 'content-type': 'application/json' };

/** The good body with `text` put before its first member. */
const withFirst = ({ good }: Door, text: string) => `{${text},${JSON.stringify(good()).slice(1)}`;
/** The good body with another value, as JSON text, for its text member. */
const withMember = ({ good, member }: Door, json: string) =>
  JSON.stringify({ ...good(), [member]: '@' }).replace('"@"', json);
const nested = (depth: number) => '['.repeat(depth) + ']'.repeat(depth);

const ATTACKS: readonly Attack[] = [
  { name: 'too large by its length', body: ({ maxBytes }) => Buffer.alloc(maxBytes + 1, 0x20), is: TOO_LARGE },
  {
    name: 'too large while it streams',
    body: ({ maxBytes }) => Buffer.alloc(maxBytes + 1, 0x20),
    chunked: true,
    is: TOO_LARGE,
  },
  { name: 'empty', body: () => '', is: INVALID },
  { name: 'no JSON', body: () => '{"name":', is: INVALID },
  { name: 'two documents', body: ({ good }) => JSON.stringify(good()).repeat(2), is: INVALID },
  { name: 'an array', body: () => '[]', is: INVALID },
  { name: 'null', body: () => 'null', is: INVALID },
  { name: 'text', body: () => '"x"', is: INVALID },
  { name: 'a number for text', body: (door) => withMember(door, '7'), is: INVALID },
  { name: 'null for text', body: (door) => withMember(door, 'null'), is: INVALID },
  { name: 'an object for text', body: (door) => withMember(door, '{"toString":1}'), is: INVALID },
  { name: 'an array for text', body: (door) => withMember(door, '["x"]'), is: INVALID },
  { name: 'an infinite number', body: (door) => withMember(door, '1e999'), is: INVALID },
  { name: '65 levels', body: (door) => withFirst(door, `"x":${nested(64)}`), is: INVALID },
  { name: '20,000 levels', body: (door) => withFirst(door, `"x":${nested(20_000)}`), is: INVALID },
  { name: '__proto__', body: (door) => withFirst(door, '"__proto__":{"polluted":1}'), is: INVALID },
  { name: '__proto__ in escapes', body: (door) => withFirst(door, '"__\\u0070roto__":{"polluted":1}'), is: INVALID },
  { name: '__proto__ further down', body: (door) => withMember(door, '{"__proto__":{"polluted":1}}'), is: INVALID },
  {
    name: 'constructor.prototype for text',
    body: (door) => withMember(door, '{"constructor":{"prototype":{"polluted":1}}}'),
    is: INVALID,
  },
  {
    name: 'invalid UTF-8',
    body: (door) => Buffer.from(withMember(door, '"\u00ff\u00fe"'), 'latin1'),
    is: INVALID,
  },
  {
    name: 'an overlong slash',
    body: (door) => Buffer.from(withMember(door, '"\u00c0\u00af"'), 'latin1'),
    is: INVALID,
  },
  { name: 'NUL', body: (door) => withMember(door, '"a\\u0000b"'), is: INVALID },
  { name: 'a raw NUL', body: (door) => withMember(door, '"a\0b"'), is: INVALID },
  { name: 'a high surrogate alone', body: (door) => withMember(door, '"a\\ud800"'), is: INVALID },
  { name: 'a low surrogate alone', body: (door) => withMember(door, '"\\udc00a"'), is: INVALID },
  {
    name: 'compressed',
    body: ({ good }) => gzipSync(JSON.stringify(good())),
    headers: { 'content-encoding': 'gzip' },
    is: WRONG_TYPE,
  },
  {
    name: 'a bomb',
    body: () => gzipSync(Buffer.alloc(64 * 1024 * 1024)),
    headers: { 'content-encoding': 'gzip' },
    is: WRONG_TYPE,
  },
  {
    name: 'a form',
    body: () => 'a=b',
    headers: { 'content-type': 'application/x-www-form-urlencoded' },
    is: WRONG_TYPE,
  },
  {
    name: 'JSON called text',
    body: ({ good }) => JSON.stringify(good()),
    headers: { 'content-type': 'text/plain' },
    is: WRONG_TYPE,
  },
  {
    name: 'in UTF-16',
    body: ({ good }) => Buffer.from(JSON.stringify(good()), 'utf16le'),
    headers: { 'content-type': 'application/json; charset=utf-16' },
    is: WRONG_TYPE,
  },
];

/** What a terminal, a log reader or a browser could take for more than text. */
const MARKED = 'a\r\n{"level":60,"msg":"forged"}\n\u001b[31mred\u202egpj.exe\u2028<script>alert(1)</script>=cmd|x';
/** The same as a computer's name: an enrollment takes what people can see of the name it asks for. */
const SEEN = 'a{"level":60,"msg":"forged"}[31mredgpj.exe<script>alert(1)</script>=cmd|x';

describe('attacks on both ports of the real manager', function () {
  this.timeout(120_000);
  const root = makeDataDir();
  let manager: ManagerProcess;
  let agents: CallTarget;
  let admin: CallTarget;
  let key: Readonly<Record<string, string>>;
  let policyId: string;
  let token: string;
  let rogue: EnrolledComputer;
  let victim: EnrolledComputer;

  interface Shown extends Record<string, unknown> {
    readonly lastSeenAt: string | null;
    readonly agentTimeAt: string | null;
    readonly clockOffsetMs: number | null;
  }
  interface ShownEvent extends Record<string, unknown> {
    readonly kind: string;
    readonly message: string;
    readonly occurredAt: string;
  }
  const shown = (id: string) => manager.api.get<Shown>(`/computers/${id}`);
  const events = async (id: string, filter = '') =>
    (await manager.api.get<{ items: ShownEvent[] }>(`/computers/${id}/events?limit=500${filter}`)).items;
  const metric = async (name: string): Promise<number> => {
    const { text } = await call(admin, { method: 'GET', path: '/metrics' });
    return Number(new RegExp(`^wardbeat_ingest_${name}_total (\\d+)$`, 'm').exec(text)?.[1]);
  };
  const lane = (sequence: number, message: string, more: object = {}) => ({
    lane: 'detection',
    epoch: 'e1',
    events: [{ sequence, occurredAt: Date.now(), kind: 'detection', severity: 'high', message, ...more }],
  });

  before(async () => {
    manager = await startManager({ dataDir: root, env: { WARDBEAT_LOG_LEVEL: 'debug' } });
    await manager.api.signIn('admin', ADMIN_PASSWORD);
    const created = await manager.api.post<{ key: string }>('/api-keys', { name: 'attacker', role: 'administrator' });
    key = { authorization: `Bearer ${created.key}` };
    policyId = (await manager.api.get<{ items: { id: string }[] }>('/policies')).items[0]?.id ?? '';
    const asked = { policyId, uses: 10, expiresInSeconds: 600 };
    token = (await manager.api.post<{ token: string }>('/enrollment-tokens', asked)).token;
    agents = await agentTarget(manager);
    admin = { host: '127.0.0.1', port: Number(new URL(manager.adminUrl).port) };
    rogue = await enrollComputer(agents, { token, name: 'rogue' });
    victim = await enrollComputer(agents, { token, name: 'victim' });
  });

  after(async () => {
    await manager?.stop();
    removeDataDir(root);
  });

  const doors: readonly Door[] = [
    {
      name: 'the admin port',
      target: () => admin,
      request: () => ({ method: 'POST', path: '/api/v1/policies', headers: key }),
      good: () => ({ name: 'attacked', parentId: policyId }),
      maxBytes: MAX_BODY_BYTES,
      member: 'name',
    },
    {
      name: 'heartbeats',
      target: () => ({ ...agents, ...rogue.identity }),
      request: () => ({ method: 'POST', path: AGENT_PATHS.heartbeat }),
      good: () => rogue.report(),
      maxBytes: MAX_REPORT_BYTES,
      member: 'bootId',
    },
    {
      name: 'enrollment',
      target: () => agents,
      request: () => ({ method: 'POST', path: AGENT_PATHS.enroll }),
      good: () => enrollBody(token),
      maxBytes: MAX_ENROLL_BYTES,
      member: 'name',
    },
  ];
  for (const door of doors)
    for (const { name, body, headers, chunked = false, is } of ATTACKS)
      it(`a body for ${door.name} is refused: ${name}`, async () => {
        const request = door.request();
        const sent = { ...JSON_TYPE, ...request.headers, ...headers };
        const answer = await call(door.target(), { ...request, headers: sent, body: body(door), chunked });
        const [status, code] = is;
        expect([answer.status, answer.body['type']], answer.text).to.deep.equal([status, `/problems/${code}`]);
        expect(answer.headers['content-type']).to.equal('application/problem+json');
      });

  it('left nothing behind', async () => {
    const computers = await manager.api.get<{ items: { name: string; lastSeenAt: string | null }[] }>('/computers');
    const seen = computers.items.map(({ name, lastSeenAt }) => [name, lastSeenAt]).toSorted();
    expect(seen).to.deep.equal([
      ['rogue', null],
      ['victim', null],
    ]);
    const { items } = await manager.api.get<{ items: { name: string }[] }>('/policies');
    expect(items.map(({ name }) => name)).to.deep.equal(['Base Policy']);
  });

  it('in queries are refused too', async () => {
    const queries = [
      '__proto__[a]=1',
      'constructor=1',
      'q=%00',
      'q=%ff',
      'q=%ed%a0%80',
      'limit=1e3',
      'limit=1&limit=2',
    ];
    for (const query of [...queries, 'cursor=%7B%7D', 'sort=constructor', 'unknown=1', 'status=__proto__']) {
      const answer = await call(admin, { method: 'GET', path: `/api/v1/computers?${query}`, headers: key });
      expect([answer.status, answer.body['type']], query).to.deep.equal([400, '/problems/request-invalid']);
    }
  });

  it('by names of the object prototype among settings and labels are refused', async () => {
    for (const body of ['{"constructor":{"prototype":{"polluted":1}}}', '{"__proto__":{}}', '{"toString":1}']) {
      const headers = { ...JSON_TYPE, ...key, 'if-match': '"1"' };
      const path = `/api/v1/policies/${policyId}/settings`;
      const answer = await call(admin, { method: 'PATCH', path, headers, body });
      expect(answer.status, answer.text).to.equal(400);
    }
    const labels = { name: 'x', policyId, labels: JSON.parse('{"constructor":"x"}') as object };
    expect((await manager.api.request('POST', '/computers', { body: labels })).status).to.equal(400);
  });

  it('a report that names another computer is refused, told, and nothing of it is stored (T1)', async () => {
    await rogue.beat(rogue.report());
    const before = await shown(rogue.computerId);
    const lanes = [lane(0, 'planted')];
    const answer = await rogue.beat(rogue.report({ computerId: victim.computerId, lanes }));
    expect([answer.status, answer.body['type']]).to.deep.equal([403, '/problems/identity-mismatch']);
    expect((await shown(rogue.computerId)).lastSeenAt).to.equal(before.lastSeenAt);
    expect((await shown(victim.computerId)).lastSeenAt).to.equal(null);
    const audit = await manager.api.get<{ items: Record<string, unknown>[] }>('/audit?action=report.identity-mismatch');
    expect(audit.items).to.have.length(1);
    expect(audit.items[0]).to.include({
      actorId: `computer/${rogue.computerId}`,
      subjectId: victim.computerId,
      sourceAddress: '127.0.0.1',
    });
    expect((await events(rogue.computerId, '&kind=identity-mismatch')).map(({ kind }) => kind)).to.deep.equal([
      'identity-mismatch',
    ]);
    const all = await manager.api.get<{ items: ShownEvent[] }>('/events?limit=500');
    expect(all.items.filter(({ message }) => message === 'planted')).to.deep.equal([]);
  });

  it('a report replayed byte for byte is answered again and does nothing (T8)', async () => {
    const bytes = Buffer.from(JSON.stringify(rogue.report({ lanes: [lane(10, 'once')] })));
    const first = await rogue.beat(bytes);
    expect([first.status, first.body['effect']]).to.deep.equal([200, 'accepted']);
    const { lastSeenAt, nextExpectedAt } = await shown(rogue.computerId);
    for (const _ of [1, 2, 3]) {
      const again = await rogue.beat(bytes);
      expect([again.status, again.body['effect']]).to.deep.equal([200, 'repeat']);
      expect(again.body['acknowledged']).to.deep.equal(first.body['acknowledged']);
    }
    expect(await shown(rogue.computerId)).to.include({ lastSeenAt, nextExpectedAt });
    expect((await events(rogue.computerId)).filter(({ message }) => message === 'once')).to.have.length(1);
  });

  it('an older report of the same boot is counted and moves nothing back (T8)', async () => {
    const older = rogue.report({ lanes: [lane(20, 'too late')], appliedFingerprint: 'e'.repeat(64) });
    const newest = await rogue.beat(rogue.report({ agentVersion: '9.9.9' }));
    expect(newest.body['effect']).to.equal('accepted');
    const before = await shown(rogue.computerId);
    const counted = await metric('older');
    const answer = await rogue.beat(older);
    expect([answer.status, answer.body['effect']]).to.deep.equal([200, 'older']);
    expect(await metric('older')).to.equal(counted + 1);
    const after = await shown(rogue.computerId);
    for (const member of ['lastSeenAt', 'agentVersion', 'fingerprint', 'status', 'nextExpectedAt'])
      expect(after[member], member).to.deep.equal(before[member]);
    expect((await events(rogue.computerId)).some(({ message }) => message === 'too late')).to.equal(false);
  });

  it("a captured report is refused with another computer's certificate (T8)", async () => {
    const captured = Buffer.from(JSON.stringify(victim.report({ lanes: [lane(0, 'captured')] })));
    expect((await victim.beat(captured)).body['effect']).to.equal('accepted');
    const before = [(await shown(victim.computerId)).lastSeenAt, (await shown(rogue.computerId)).lastSeenAt];
    const answer = await rogue.beat(captured);
    expect([answer.status, answer.body['type']]).to.deep.equal([403, '/problems/identity-mismatch']);
    const after = [(await shown(victim.computerId)).lastSeenAt, (await shown(rogue.computerId)).lastSeenAt];
    expect(after).to.deep.equal(before);
    const all = await manager.api.get<{ items: ShownEvent[] }>('/events?limit=500');
    expect(all.items.filter(({ message }) => message === 'captured')).to.have.length(1);
  });

  const clocks: readonly (readonly [string, number, string])[] = [
    ['1970', 0, '1970-01-01T00:00:00.000Z'],
    ['the end of 9999', 253_402_300_799_000, '9999-12-31T23:59:59.000Z'],
    ['-1e15', -1e15, '0000-01-01T00:00:00.000Z'],
    ['the last instant of a date', 8.64e15, '9999-12-31T23:59:59.999Z'],
  ];
  for (const [name, claim, stored] of clocks)
    it(`a clock at ${name} is stored as a claim, with one event, and orders nothing (T7)`, async () => {
      const liar = await enrollComputer(agents, { token, name: `liar at ${name}` });
      expect((await liar.beat(liar.report())).status).to.equal(200);
      const startedAt = Date.now();
      for (const sequence of [0, 1]) {
        const lanes = [lane(sequence, 'claimed', { occurredAt: claim })];
        const answer = await liar.beat(liar.report({ agentTime: claim, lanes }));
        expect([answer.status, answer.body['effect']], answer.text).to.deep.equal([200, 'accepted']);
      }
      const computer = await eventually('the claim is shown', async () => {
        const now = await shown(liar.computerId);
        return now.agentTimeAt === stored ? now : undefined;
      });
      expect(Math.abs(Date.parse(computer.lastSeenAt ?? '') - startedAt)).to.be.lessThan(86_400_000);
      expect(Math.sign(computer.clockOffsetMs ?? 0)).to.equal(Math.sign(claim - startedAt));
      const listed = await events(liar.computerId);
      expect(listed.filter(({ kind }) => kind === 'clock-implausible')).to.have.length(1);
      const claimed = listed.filter(({ message }) => message === 'claimed');
      expect(claimed.map(({ occurredAt }) => occurredAt)).to.deep.equal([stored, stored]);
      expect((await liar.beat(liar.report())).body['effect']).to.equal('accepted');
    });

  it('times that are no instant at all are refused (T7)', async () => {
    for (const time of ['NaN', '1e999', '-1e999', '8640000000000001', '"2026-01-01"', 'null', 'true']) {
      const text = JSON.stringify(rogue.report({ agentTime: '@' })).replace('"@"', time);
      expect((await rogue.beat(text)).status, time).to.equal(400);
    }
  });

  it('text of agents that could be more than text is kept as data and makes no second log line (T5)', async () => {
    const { computerId } = await enrollComputer(agents, { token, name: MARKED });
    expect(await shown(computerId)).to.include({ name: SEEN });
    const sent = {
      bootId: MARKED.slice(0, 64),
      agentVersion: MARKED.slice(0, 64),
      platform: MARKED,
      factsDigest: 'b'.repeat(64),
      facts: { hostname: MARKED, [MARKED]: 1 },
      components: [{ name: MARKED, kind: 'process', state: 'offline', detail: MARKED }],
      lastTransportError: { code: 'x', at: 0, detail: MARKED },
      lanes: [lane(100, MARKED, { kind: MARKED.slice(0, 64), data: { [MARKED]: MARKED } })],
    };
    const answer = await rogue.beat(rogue.report(sent));
    expect([answer.status, answer.body['effect']], answer.text).to.deep.equal([200, 'accepted']);
    await rogue.beat(rogue.report({ ...sent, computerId: victim.computerId }));
    await rogue.beat(JSON.stringify(rogue.report(sent)), { path: `/agent/v1/${encodeURIComponent(MARKED)}` });
    await call(admin, { method: 'GET', path: `/api/v1/${encodeURIComponent(MARKED)}`, headers: key });
    const listed = await events(rogue.computerId);
    expect(listed.find(({ message }) => message === MARKED)).to.deep.include({ data: { [MARKED]: MARKED } });
    expect((await shown(rogue.computerId))['facts']).to.deep.equal({ hostname: MARKED, [MARKED]: 1 });
  });

  it('the manager still serves, and its log is one object a line without a stack of ours', async () => {
    const health = await call(admin, { method: 'GET', path: '/readyz' });
    expect(health.status, health.text).to.equal(200);
    expect((await rogue.beat(rogue.report())).body['effect']).to.equal('accepted');
    expect(({} as { polluted?: unknown }).polluted).to.equal(undefined);
    const output = manager.output();
    // oxlint-disable-next-line no-control-regex -- the point of the test
    expect(output).not.to.match(/[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u2028-\u202e]/);
    const lines = output.split('\n').filter((line) => line.startsWith('{'));
    expect(lines.length).to.be.greaterThan(ATTACKS.length);
    const entries = lines.map((line) => JSON.parse(line) as Record<string, unknown>);
    expect(entries.filter(({ computerName }) => computerName === SEEN)).to.have.length(1);
    expect(entries.filter(({ msg }) => msg === 'forged')).to.deep.equal([]);
    expect(entries.filter(({ level }) => Number(level) >= 50)).to.deep.equal([]);
    expect(entries.filter(({ err }) => err !== undefined)).to.deep.equal([]);
    expect(output).not.to.match(/^\s+at /m);
    expect(manager.output()).not.to.contain(token);
  });
});
