import { X509Certificate } from 'node:crypto';
import { request as httpsRequest } from 'node:https';
import { expect } from 'chai';
import { computerSpiffeId, managerSpiffeId } from '../../../certs/certificate-profile.js';
import { MAX_REPORT_BYTES } from '../../../protocol/heartbeat-messages.js';
import { startAgentPort, type AgentPort, type Answer, type ClientIdentity } from '../../support/agent-port.js';
import { useDatabase } from '../../support/database.js';
import {
  forgeAuthority,
  forgeCertificate,
  leafExtensions,
  newKey,
  spkiOf,
  validAround,
  type Forged,
} from '../../support/forged-certificates.js';
import { addComputers, seedForest, steadyReport } from '../../support/ingest-world.js';

const HEARTBEAT = '/agent/v1/heartbeat';
const ENROLL = '/agent/v1/enroll';

describe('the agent port', () => {
  const database = useDatabase();
  let port: AgentPort;
  let computerId: string;
  let otherId: string;
  let web1: ClientIdentity;

  before(async () => {
    await seedForest(database.pool);
    port = await startAgentPort(database.pool);
    [computerId = '', otherId = ''] = await addComputers(database.pool, 2);
    web1 = port.identityOf(computerId);
  });
  after(() => port.stop());

  let sequence = 0;
  const report = (changes: object = {}) => ({ ...steadyReport(Date.now()), sequence: (sequence += 1), ...changes });
  const beat = (body: string | Buffer | object, headers: Record<string, string> = {}) =>
    port.post(HEARTBEAT, body, { identity: web1, headers });
  const problem = ({ status, headers, body }: Answer) => {
    expect(headers['content-type']).to.equal('application/problem+json');
    expect(body['instance']).to.match(/^urn:uuid:[0-9a-f-]{36}$/);
    expect(body['status']).to.equal(status);
    return [status, body['type']];
  };
  const lastSeen = async (id: string) =>
    (await database.pool.query('SELECT last_seen_fleet_ms FROM computer_live WHERE computer_id = $1', [id])).rows[0]
      .last_seen_fleet_ms;

  it('stores a heartbeat over mutual TLS and keeps what was seen of the connection', async () => {
    const { status, headers, body } = await beat(report());
    expect([status, headers['content-type'], body['effect'], body['computerId']]).to.deep.equal([
      200,
      'application/json',
      'accepted',
      computerId,
    ]);
    const { rows } = await database.pool.query('SELECT * FROM computer_facts WHERE computer_id = $1', [computerId]);
    expect([rows[0].observed_address, rows[0].tls_version, rows[0].tls_cipher]).to.deep.equal([
      '127.0.0.1',
      'TLSv1.3',
      'TLS_AES_128_GCM_SHA256',
    ]);
  });

  it('sends leaf, intermediate and root', async () => {
    const socket = await port.openSocket();
    let certificate = socket.getPeerCertificate(true);
    const subjects: string[] = [];
    for (; !subjects.includes(certificate.fingerprint256); certificate = certificate.issuerCertificate)
      subjects.push(certificate.fingerprint256);
    expect(subjects).to.have.length(3);
    expect(new X509Certificate(port.authority.rootPem).fingerprint256).to.equal(subjects[2]);
    socket.destroy();
  });

  const big = Buffer.alloc(MAX_REPORT_BYTES + 1, 0x20);
  const nested = (depth: number) => `${'['.repeat(depth)}${']'.repeat(depth)}`;
  const asText = (changes: object) => JSON.stringify(report(changes));
  const badBodies: readonly (readonly [
    string,
    () => string | Buffer | object,
    Record<string, string>,
    number,
    string,
  ])[] = [
    ['too large by its length', () => big, {}, 413, 'body-too-large'],
    ['too large while it streams', () => big, { 'Transfer-Encoding': 'chunked' }, 413, 'body-too-large'],
    ['not JSON', () => '{', {}, 400, 'request-invalid'],
    ['empty', () => '', {}, 400, 'request-invalid'],
    ['an array', () => [], {}, 400, 'request-invalid'],
    ['null', () => 'null', {}, 400, 'request-invalid'],
    ['of wrong types', () => report({ sequence: '1', lanes: {}, components: 'x' }), {}, 400, 'request-invalid'],
    [
      'with a sequence beyond 2^53',
      () => asText({}).replace(/"sequence":\d+/, '"sequence":9007199254740993'),
      {},
      400,
      'request-invalid',
    ],
    ['with NaN for a time', () => asText({}).replace(/"agentTime":\d+/, '"agentTime":NaN'), {}, 400, 'request-invalid'],
    [
      'with an infinite time',
      () => asText({}).replace(/"agentTime":\d+/, '"agentTime":1e999'),
      {},
      400,
      'request-invalid',
    ],
    [
      'nested deeper than 64',
      () => asText({}).replace('"facts":{', `"facts":{"deep":${nested(65)},`),
      {},
      400,
      'request-invalid',
    ],
    [
      'with __proto__',
      () => asText({}).replace('"facts":{', '"facts":{"__proto__":{"admin":true},'),
      {},
      400,
      'request-invalid',
    ],
    [
      'with an escaped __proto__',
      () => asText({}).replace('"facts":{', '"facts":{"__\\u0070roto__":{"admin":true},'),
      {},
      400,
      'request-invalid',
    ],
    [
      'with invalid UTF-8',
      () =>
        Buffer.concat([
          Buffer.from(asText({})).subarray(0, -1),
          Buffer.from([0x2c, 0x22, 0xff, 0x22, 0x3a, 0x31, 0x7d]),
        ]),
      {},
      400,
      'request-invalid',
    ],
    ['with NUL in a string', () => report({ bootId: 'a\0b' }), {}, 400, 'request-invalid'],
    ['with NUL in free JSON', () => report({ facts: { deep: ['a\0b'] } }), {}, 400, 'request-invalid'],
    [
      'with a lone surrogate',
      () => asText({}).replace('"bootId":"boot-1"', '"bootId":"\\ud800"'),
      {},
      400,
      'request-invalid',
    ],
    [
      'with a lone surrogate as a key',
      () => asText({}).replace('"facts":{', '"facts":{"\\udc00":1,'),
      {},
      400,
      'request-invalid',
    ],
    ['compressed', () => report(), { 'Content-Encoding': 'gzip' }, 415, 'content-type-unsupported'],
    ['a form', () => 'a=b', { 'Content-Type': 'application/x-www-form-urlencoded' }, 415, 'content-type-unsupported'],
    [
      'of a version to come',
      () => ({ protocolVersion: 3, everything: 'new' }),
      {},
      400,
      'protocol-version-unsupported',
    ],
    [
      'with a lane twice',
      () => report({ lanes: [1, 2].map(() => ({ lane: 'log', epoch: 'e', events: [] })) }),
      {},
      400,
      'request-invalid',
    ],
  ];
  for (const [name, body, headers, status, code] of badBodies)
    it(`refuses a body that is ${name}`, async () => {
      expect(problem(await beat(body(), headers))).to.deep.equal([status, `/problems/${code}`]);
      expect(({} as { admin?: boolean }).admin).to.equal(undefined);
    });

  describe('whatever is wrong with the body, tells', () => {
    const senders = [
      [
        'a computer that was revoked',
        `UPDATE computer_status SET status = 'revoked' WHERE computer_id = $1`,
        'revoked',
      ],
      ['a computer that was removed', 'DELETE FROM computers WHERE id = $1', 'removed'],
    ] as const;
    for (const [sender, turn, answer] of senders)
      it(`${sender} that it was ${answer}`, async () => {
        const [id = ''] = await addComputers(database.pool, 1);
        const identity = port.identityOf(id);
        await database.pool.query(turn, [id]);
        const bodies = [...badBodies, ['of another computer', () => report({ computerId: otherId }), {}] as const];
        for (const [name, body, headers] of bodies) {
          const refused = await port.post(HEARTBEAT, body(), { identity, headers });
          expect(problem(refused), name).to.deep.equal([403, `/problems/computer-${answer}`]);
        }
        const audit = await database.pool.query(`SELECT 1 FROM audit_log WHERE actor_id = $1`, [`computer/${id}`]);
        expect(audit.rows).to.deep.equal([]);
      });

    it('a certificate that was revoked alone, and not the one in its place', async () => {
      const [id = ''] = await addComputers(database.pool, 1);
      const [old, fresh] = [port.identityOf(id), port.identityOf(id)];
      await database.pool.query(
        `INSERT INTO certificates (serial, computer_id, key_digest, pem, not_before, not_after, issued_at, revoked_at)
         VALUES ($1, $2, '', '', to_timestamp(0), to_timestamp(1), to_timestamp(0), to_timestamp(1))`,
        [new X509Certificate(old.cert).serialNumber.toLowerCase(), id],
      );
      const told = async (identity: ClientIdentity) => problem(await port.post(HEARTBEAT, '{', { identity }));
      expect(await told(old)).to.deep.equal([403, '/problems/computer-revoked']);
      expect(await told(fresh)).to.deep.equal([400, '/problems/request-invalid']);
    });
  });

  it('takes constructor keys as plain data', async () => {
    const facts = JSON.parse('{"constructor":{"prototype":{"admin":true}}}');
    expect((await beat(report({ facts, factsDigest: 'c'.repeat(64) }))).status).to.equal(200);
    expect(({} as { admin?: boolean }).admin).to.equal(undefined);
    const { rows } = await database.pool.query('SELECT facts FROM computer_facts WHERE computer_id = $1', [computerId]);
    expect(rows[0].facts).to.deep.equal(facts);
  });

  it('refuses a body that names another computer, with an audit row and an event, and stores nothing', async () => {
    const before = await lastSeen(computerId);
    const lanes = [
      {
        lane: 'detection',
        epoch: 'x',
        events: [{ sequence: 0, occurredAt: 0, kind: 'k', severity: 'high', message: 'm' }],
      },
    ];
    expect(problem(await beat(report({ computerId: otherId, lanes })))).to.deep.equal([
      403,
      '/problems/identity-mismatch',
    ]);
    expect([await lastSeen(computerId), await lastSeen(otherId)]).to.deep.equal([before, null]);
    const audit = await database.pool.query(`SELECT * FROM audit_log WHERE action = 'report.identity-mismatch'`);
    expect(audit.rows.map((row) => [row.actor_id, row.subject_id, row.source_address])).to.deep.equal([
      [`computer/${computerId}`, otherId, '127.0.0.1'],
    ]);
    const events = await database.pool.query(
      `SELECT computer_id, kind FROM events WHERE kind IN ('identity-mismatch', 'k')`,
    );
    expect(events.rows).to.deep.equal([{ computer_id: computerId, kind: 'identity-mismatch' }]);
  });

  it('takes a body that names its own computer, and replays of it once', async () => {
    const body = report({ computerId });
    expect([(await beat(body)).body['effect'], (await beat(body)).body['effect']]).to.deep.equal([
      'accepted',
      'repeat',
    ]);
    const stolen = port.identityOf(otherId);
    expect(problem(await port.post(HEARTBEAT, body, { identity: stolen }))[0]).to.equal(403);
    expect(await lastSeen(otherId)).to.equal(null);
  });

  describe('judges certificates itself', () => {
    const now = Date.now();
    const uri = () => computerSpiffeId('test.wardbeat', computerId);
    const pemOf = (forged: Forged, ...chain: Forged[]): ClientIdentity => ({
      cert: [forged, ...chain].map(({ pem }) => pem).join(''),
      key: forged.keyPem,
    });
    const stranger = forgeAuthority(now);
    const leafOf = (authority: typeof stranger, period: { notBefore: number; notAfter: number }) =>
      pemOf(
        forgeCertificate({
          name: 'x',
          issuer: authority.intermediate,
          ...period,
          extensions: Object.values(leafExtensions(uri())),
        }),
        authority.intermediate,
        authority.root,
      );
    const past = { notBefore: now - 9e9, notAfter: now - 8e9 };
    const future = { notBefore: now + 8e9, notAfter: now + 9e9 };
    const ownIntermediate = (): ClientIdentity => {
      const key = newKey();
      const { pem } = port.authority.issueManager({
        node: 'node-2',
        hosts: ['localhost'],
        spkiDer: spkiOf(key),
        lifetimeDays: 5,
      });
      expect(new X509Certificate(pem).subjectAltName).to.contain(managerSpiffeId('test.wardbeat', 'node-2'));
      return {
        cert: pem + port.authority.intermediatePem,
        key: key.export({ type: 'pkcs8', format: 'pem' }).toString(),
      };
    };
    const cases: readonly (readonly [string, () => ClientIdentity | undefined, string])[] = [
      ['no certificate', () => undefined, 'certificate-required'],
      ['another authority', () => leafOf(stranger, validAround(now)), 'certificate-refused'],
      ['another authority, expired', () => leafOf(stranger, past), 'certificate-refused'],
      ['another authority, not valid yet', () => leafOf(stranger, future), 'certificate-refused'],
      [
        'a self-signed one',
        () =>
          pemOf(forgeCertificate({ name: 'x', ...validAround(now), extensions: Object.values(leafExtensions(uri())) })),
        'certificate-refused',
      ],
      ["a manager's own certificate", ownIntermediate, 'certificate-refused'],
    ];
    for (const [name, identity, code] of cases)
      it(`answers ${code} for ${name}`, async () => {
        const who = identity();
        const answer = await port.post(HEARTBEAT, report(), who ? { identity: who } : {});
        expect(problem(answer)).to.deep.equal([403, `/problems/${code}`]);
      });

    it('says clock-skew with its own time when only the dates are wrong, also on an open connection', async () => {
      const start = port.world.clock.now;
      const socket = await port.openSocket(web1);
      const body = JSON.stringify(report());
      port.world.clock.now = start + 40 * 86_400_000;
      let received = '';
      socket.setEncoding('utf8').on('data', (chunk) => (received += String(chunk)));
      socket.write(
        `POST ${HEARTBEAT} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`,
      );
      const fresh = await beat(report());
      while (!received.includes('\r\n\r\n')) await new Promise(setImmediate);
      port.world.clock.now = start;
      socket.destroy();
      expect(received).to.contain('403').and.contain('/problems/clock-skew');
      expect(problem(fresh)).to.deep.equal([403, '/problems/clock-skew']);
      expect([fresh.body['managerTime'], fresh.body['reason']]).to.deep.equal([start + 40 * 86_400_000, 'tls-expired']);
      expect((await beat(report())).status).to.equal(200);
    });

    it('knows the computer of a resumed session and refuses it once revoked', async () => {
      const ask = async (session?: Buffer) => {
        const socket = await port.openSocket(web1, session);
        let [ticket, received]: [Buffer | undefined, string] = [undefined, ''];
        socket.on('session', (fresh: Buffer) => (ticket = fresh));
        socket.setEncoding('utf8').on('data', (chunk) => (received += String(chunk)));
        const body = JSON.stringify(report());
        socket.write(
          `POST ${HEARTBEAT} HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`,
        );
        while (!received.includes('}')) await new Promise(setImmediate);
        const isResumed = socket.isSessionReused();
        socket.destroy();
        return { ticket, isResumed, received };
      };
      const first = await ask();
      expect([first.isResumed, first.received.slice(9, 12)]).to.deep.equal([false, '200']);
      const resumed = await ask(first.ticket);
      expect([resumed.isResumed, resumed.received.slice(9, 12)]).to.deep.equal([true, '200']);
      await database.pool.query(`UPDATE computer_status SET status = 'revoked' WHERE computer_id = $1`, [computerId]);
      const revoked = await ask(first.ticket);
      await database.pool.query(`UPDATE computer_status SET status = 'online' WHERE computer_id = $1`, [computerId]);
      expect([revoked.isResumed, revoked.received.slice(9, 12)]).to.deep.equal([true, '403']);
      expect(revoked.received).to.contain('/problems/computer-revoked');
    });
  });

  it('serves nothing else', async () => {
    for (const path of ['/api', '/api/v1/policies'])
      expect(problem(await port.post(path, {}, { identity: web1 }))).to.deep.equal([403, '/problems/forbidden']);
    for (const path of ['/', '/apis', '/docs', '/metrics', '/agent/v1/channel'])
      expect(problem(await port.post(path, {}, { identity: web1 }))).to.deep.equal([404, '/problems/route-not-found']);
    expect(problem(await port.post(HEARTBEAT, '', { identity: web1, method: 'GET' }))).to.deep.equal([
      405,
      '/problems/method-not-allowed',
    ]);
    expect(problem(await port.post(`${ENROLL}/x`, {}))).to.deep.equal([404, '/problems/route-not-found']);
  });

  const heads: readonly (readonly [string, string, string])[] = [
    ['without Host', `POST ${ENROLL} HTTP/1.1\r\n`, '400'],
    ['with two Hosts', `POST ${ENROLL} HTTP/1.1\r\nHost: a\r\nHost: b\r\n`, '400'],
    ['with an empty Host', `POST ${ENROLL} HTTP/1.1\r\nHost:\r\n`, '400'],
    ['with user info in Host', `POST ${ENROLL} HTTP/1.1\r\nHost: a@b\r\n`, '400'],
    ['with a path in Host', `POST ${ENROLL} HTTP/1.1\r\nHost: a/b\r\n`, '400'],
    ['with a list in Host', `POST ${ENROLL} HTTP/1.1\r\nHost: a,b\r\n`, '400'],
    ['for *', 'GET * HTTP/1.1\r\nHost: a\r\n', '400'],
    ['for an absolute target', `POST https://a${ENROLL} HTTP/1.1\r\nHost: a\r\n`, '400'],
    ['with two lengths', `POST ${ENROLL} HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n`, '400'],
    [
      'with length and chunks',
      `POST ${ENROLL} HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n`,
      '400',
    ],
    ['for a tunnel', 'CONNECT a:443 HTTP/1.1\r\nHost: a\r\n', '405'],
    [
      'for an upgrade',
      'GET /agent/v1/channel HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n',
      '404',
    ],
    ['that is no HTTP', 'HELLO\r\n', '400'],
  ];
  for (const [name, head, status] of heads)
    it(`refuses a request ${name}`, async () => {
      const received = await port.raw(
        `${head}Connection: close\r\n\r\n`.replace(
          'Upgrade\r\nUpgrade: websocket\r\nConnection: close',
          'Upgrade\r\nUpgrade: websocket',
        ),
      );
      expect(received.slice(0, 13)).to.equal(`HTTP/1.1 ${status} `);
      expect(received).to.contain('application/problem+json');
      expect(received.match(/HTTP\/1\.1 /g)).to.have.length(1);
    });

  it('answers Expect: 100-continue only when it will read the body', async () => {
    const continued = await new Promise<[boolean, number]>((resolve, reject) => {
      let asked = false;
      const body = JSON.stringify(report());
      const request = httpsRequest(
        {
          host: '127.0.0.1',
          port: port.server.port(),
          path: HEARTBEAT,
          method: 'POST',
          agent: false,
          ca: port.authority.rootPem,
          servername: 'localhost',
          ...web1,
          headers: {
            Expect: '100-continue',
            'Content-Type': 'application/json',
            'Content-Length': Buffer.byteLength(body),
          },
        },
        (response) => resolve([asked, response.resume().statusCode ?? 0]),
      );
      request
        .on('continue', () => {
          asked = true;
          request.end(body);
        })
        .on('error', reject);
      request.flushHeaders();
    });
    expect(continued).to.deep.equal([true, 200]);
    const refused = await port.raw(
      `POST ${HEARTBEAT} HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Type: application/json\r\nContent-Length: 99999999\r\nConnection: close\r\n\r\n`,
      web1,
    );
    expect(refused)
      .to.match(/^HTTP\/1\.1 413 /)
      .and.not.contain('100 Continue');
  });
});
