import { X509Certificate } from 'node:crypto';
import { expect } from 'chai';
import { Problem } from '../../../lib/problem.js';
import { fingerprintOf } from '../../../policies/fingerprint.js';
import type { SettingsOrder } from '../../../protocol/heartbeat-messages.js';
import { createSigningRequest } from '../../../certs/csr.js';
import { computerOf, enrollBody, startAgentPort, type AgentPort, type Answer } from '../../support/agent-port.js';
import { useDatabase } from '../../support/database.js';
import { newKey } from '../../support/forged-certificates.js';
import { addComputers, changePolicy, POLICY_ID, seedForest, steadyReport } from '../../support/ingest-world.js';

const ENROLL = '/agent/v1/enroll';
const FREELY = { perAddressPerSecond: 1e6, totalPerSecond: 1e6 };

describe('enrollment', () => {
  const database = useDatabase();
  let port: AgentPort;

  before(async () => {
    await seedForest(database.pool);
    port = await startAgentPort(database.pool, FREELY);
  });
  after(() => port.stop());

  const one = async (sql: string, ...parameters: unknown[]) => (await database.pool.query(sql, parameters)).rows[0];
  const typeOf = ({ status, body }: Answer) => [status, body['type']];
  const REFUSED = [403, '/problems/enrollment-token-refused'];

  it('makes a pending computer of the token, and its certificate serves the heartbeat', async () => {
    const key = newKey();
    const { status, body } = await port.post(ENROLL, enrollBody(await port.addToken(), key, 'web\r\n1'));
    expect(status).to.equal(200);
    const id = String(body['computerId']);
    expect([body['name'], body['policy'], body['trustDomain']]).to.deep.equal([
      'web1',
      { id: POLICY_ID, name: 'Base Policy' },
      'test.wardbeat',
    ]);
    expect(computerOf(String(body['certificate']))).to.equal(id);
    const computer = await one(
      'SELECT * FROM computers JOIN computer_status ON computer_id = id JOIN computer_live USING (computer_id) WHERE id = $1',
      id,
    );
    expect([computer.kind, computer.labels, computer.status, computer.enrolled_fleet_ms]).to.deep.equal([
      'agent',
      { site: 'lab' },
      'pending',
      port.world.clock.now,
    ]);
    expect(port.world.reconsidered).to.contain(id);
    expect(
      (await one(`SELECT source_address FROM audit_log WHERE action = 'computer.enrolled' AND subject_id = $1`, id))
        .source_address,
    ).to.equal('127.0.0.1');
    const identity = {
      cert: String(body['certificate']) + (body['chain'] as string[])[0],
      key: key.export({ type: 'pkcs8', format: 'pem' }).toString(),
    };
    const beat = await port.post(
      '/agent/v1/heartbeat',
      { ...steadyReport(Date.now()), identityToken: body['identityToken'] },
      { identity },
    );
    expect([beat.status, port.world.metrics.tokensCurrent]).to.deep.equal([200, 1]);
  });

  it('tells the settings in force, the same when it is asked again, and remembers where the computer is', async () => {
    await changePolicy(database.pool, { communicationDirection: 'managerInitiated', heartbeatIntervalSeconds: 30 });
    const [token, key] = [await port.addToken(), newKey()];
    const first = await port.post(ENROLL, enrollBody(token, key));
    const settings = first.body['settings'] as SettingsOrder;
    expect(JSON.parse(settings.json)).to.deep.include({
      communicationDirection: 'managerInitiated',
      heartbeatIntervalSeconds: 30,
    });
    expect(settings.fingerprint).to.equal(fingerprintOf(settings.json));
    expect(settings.generation).to.deep.equal(port.world.settings.generation());
    const id = String(first.body['computerId']);
    const facts = await one('SELECT * FROM computer_facts WHERE computer_id = $1', id);
    expect([facts.observed_address, facts.facts_digest, facts.agent_version]).to.deep.equal([
      '127.0.0.1',
      null,
      '0.1.0',
    ]);
    await changePolicy(database.pool, {});
    const again = await port.post(ENROLL, enrollBody(token, key));
    expect(again.body['certificate']).to.equal(first.body['certificate']);
    expect((again.body['settings'] as SettingsOrder).json).to.contain('"communicationDirection":"bidirectional"');
    const { facts: _facts, ...without } = steadyReport(Date.now());
    const beat = await port.world.batcher.submit({ ...port.world.report(id), report: without });
    expect(beat.fullReport).to.equal(true);
  });

  it('tells an appliance to use both ways, whatever its policy says', async () => {
    await changePolicy(database.pool, { communicationDirection: 'managerInitiated' });
    const [id] = await addComputers(database.pool, 1);
    await database.pool.query(`UPDATE computers SET kind = 'appliance' WHERE id = $1`, [id]);
    const { body } = await port.post(ENROLL, enrollBody(await port.addToken({ computerId: id! })));
    const { json } = body['settings'] as SettingsOrder;
    expect(json).to.contain('"communicationDirection":"bidirectional"');
    await changePolicy(database.pool, {});
  });

  it('forgets the ways to the agent that had the record before', async () => {
    const [id] = await addComputers(database.pool, 1);
    const told = { direction: 'bidirectional', listener: { state: 'listening', port: 4118 } } as const;
    await port.world.beat(id!, told);
    await port.world.batcher.submit({ ...port.world.report(id!, told), dialledBy: 'manager' });
    await database.pool.query(
      `INSERT INTO computer_dials (computer_id, last_begun_fleet_ms, last_ended_fleet_ms, last_result, failures)
       VALUES ($1, 1, 2, 'refused', 1)`,
      [id],
    );
    expect((await port.post(ENROLL, enrollBody(await port.addToken({ computerId: id! })))).status).to.equal(200);
    const count = 'SELECT count(*)::int AS n FROM';
    expect((await one(`${count} computer_contacts WHERE computer_id = $1`, id)).n).to.equal(0);
    expect((await one(`${count} computer_dials WHERE computer_id = $1`, id)).n).to.equal(0);
    const live = await one('SELECT * FROM computer_live WHERE computer_id = $1', id);
    expect([live.seen_by_agent_fleet_ms, live.seen_by_dial_fleet_ms]).to.deep.equal([null, null]);
    // The same state again is stored again.
    await port.world.beat(id!, told);
    expect((await one(`${count} computer_contacts WHERE computer_id = $1`, id)).n).to.equal(1);
  });

  it('gives certificates the lifetime of the policy', async () => {
    await changePolicy(database.pool, { certificateLifetimeDays: 3 });
    const { body } = await port.post(ENROLL, enrollBody(await port.addToken()));
    const lifetime = Date.parse(new X509Certificate(String(body['certificate'])).validTo) - port.world.clock.wall();
    expect(lifetime / 86_400_000).to.be.within(2.9, 3.1);
    await changePolicy(database.pool, {});
  });

  it('answers the same token and key as the first time, used up or expired, also when they race', async () => {
    const token = await port.addToken();
    const key = newKey();
    const answers = await Promise.all(Array.from({ length: 8 }, () => port.post(ENROLL, enrollBody(token, key))));
    const certificates = new Set(answers.map(({ body }) => body['certificate']));
    expect([...new Set(answers.map(({ status }) => status))]).to.deep.equal([200]);
    expect(certificates.size).to.equal(1);
    await database.pool.query(`UPDATE enrollment_tokens SET expires_at = to_timestamp(0)`);
    const later = await port.post(ENROLL, enrollBody(token, key));
    expect(certificates.has(later.body['certificate'])).to.equal(true);
  });

  it('lets exactly one of fifty keys use a one-use token', async function () {
    this.timeout(30_000);
    const token = await port.addToken();
    const before = (await one('SELECT count(*)::int AS n FROM computers')).n;
    const answers = await Promise.all(Array.from({ length: 50 }, () => port.post(ENROLL, enrollBody(token))));
    expect(answers.filter(({ status }) => status === 200)).to.have.length(1);
    expect(answers.filter(({ status }) => status === 403)).to.have.length(49);
    expect((await one('SELECT count(*)::int AS n FROM computers')).n).to.equal(before + 1);
  });

  it('answers unknown, expired and used-up tokens alike', async () => {
    const token = await port.addToken();
    await port.post(ENROLL, enrollBody(token));
    const unknown = `wbt_${'0'.repeat(64)}_${port.authority.rootFingerprint}`;
    const other = token.replace(port.authority.rootFingerprint, 'a'.repeat(64));
    const answers = await Promise.all(
      [token, await port.addToken({ expiresInMs: -1 }), unknown, other, 'nonsense'].map((text) =>
        port.post(ENROLL, enrollBody(text)),
      ),
    );
    const bodies = answers.map(
      ({ body: { instance, ...rest } }) => (expect(instance).to.match(/^urn:uuid:/), JSON.stringify(rest)),
    );
    expect(answers.map(typeOf)).to.deep.equal(Array(5).fill(REFUSED));
    expect(new Set(bodies).size).to.equal(1);
    const audit = await one(`SELECT after FROM audit_log WHERE action = 'enrollment.refused' ORDER BY id LIMIT 1`);
    expect(JSON.stringify(audit.after)).not.to.contain('wbt_');
  });

  it('lets a token that names a record take it, and revokes the certificates before', async () => {
    const [id] = await addComputers(database.pool, 1);
    const first = await port.post(ENROLL, enrollBody(await port.addToken({ computerId: id! })));
    expect([first.body['computerId'], first.body['name']]).to.deep.equal([id, 'web']);
    const second = await port.post(ENROLL, enrollBody(await port.addToken({ computerId: id! })));
    expect(second.body['computerId']).to.equal(id);
    const { rows } = await database.pool.query(
      'SELECT revoked_reason FROM certificates WHERE computer_id = $1 ORDER BY revoked_reason',
      [id],
    );
    expect(rows.map(({ revoked_reason: reason }) => reason)).to.deep.equal(['superseded', null]);
  });

  it('never revives a revoked computer, by its own token and key or by a new one', async () => {
    const [id] = await addComputers(database.pool, 1);
    const [token, key] = [await port.addToken({ computerId: id! }), newKey()];
    expect((await port.post(ENROLL, enrollBody(token, key))).status).to.equal(200);
    await database.pool.query(`UPDATE computer_status SET status = 'revoked' WHERE computer_id = $1`, [id]);
    expect(typeOf(await port.post(ENROLL, enrollBody(token, key)))).to.deep.equal(REFUSED);
    expect(typeOf(await port.post(ENROLL, enrollBody(await port.addToken({ computerId: id! }))))).to.deep.equal(
      REFUSED,
    );
  });

  it('takes names as they come: they are not unique', async () => {
    const token = await port.addToken({ uses: 2 });
    const answers = await Promise.all([1, 2].map(() => port.post(ENROLL, enrollBody(token, newKey(), 'twin'))));
    expect(answers.map(({ status }) => status)).to.deep.equal([200, 200]);
    expect(answers[0]?.body['computerId']).not.to.equal(answers[1]?.body['computerId']);
  });

  const csr = createSigningRequest(newKey());
  const badRequests: readonly (readonly [string, (valid: ReturnType<typeof enrollBody>) => unknown, number, string])[] =
    [
      ['too large', (valid) => ({ ...valid, padding: 'x'.repeat(70_000) }), 413, 'body-too-large'],
      ['without a token', ({ token: _token, ...rest }) => rest, 400, 'request-invalid'],
      ['with a name of NUL', (valid) => ({ ...valid, name: 'a\0' }), 400, 'request-invalid'],
      ['with no CSR at all', (valid) => ({ ...valid, csr: 'hello' }), 400, 'csr-invalid'],
      ['with a torn CSR', (valid) => ({ ...valid, csr: csr.slice(0, 200) }), 400, 'csr-invalid'],
      [
        'with a CSR of another signature',
        (valid) => ({ ...valid, csr: csr.replace(/.(?=.{12}\n-----END)/, (c) => (c === 'A' ? 'B' : 'A')) }),
        400,
        'csr-invalid',
      ],
      ['of a version to come', (valid) => ({ ...valid, protocolVersion: 9 }), 400, 'protocol-version-unsupported'],
    ];
  for (const [name, change, status, code] of badRequests)
    it(`refuses a request ${name} and keeps the token's use`, async () => {
      const token = await port.addToken();
      expect(typeOf(await port.post(ENROLL, change(enrollBody(token)) as object))).to.deep.equal([
        status,
        `/problems/${code}`,
      ]);
      expect((await port.post(ENROLL, enrollBody(token))).status).to.equal(200);
    });

  it('limits each address to a burst of sixty, and a token with a rate of its own by that', async function () {
    this.timeout(20_000);
    const limited = await startAgentPort(database.pool);
    const attempt = async (token: string) =>
      limited.enrollment.enroll(enrollBody(token), '192.0.2.9').then(
        () => 'enrolled',
        (error: unknown) => (error instanceof Problem ? error.code : String(error)),
      );
    const own = await limited.addToken({ uses: 100, ratePerSecond: 50 });
    expect(await attempt(own)).to.equal('enrolled');
    const codes: string[] = [];
    for (let n = 0; n < 70; n += 1) codes.push(await attempt('nonsense'));
    expect(codes[0]).to.equal('enrollment-token-refused');
    expect(codes.at(-1)).to.equal('too-many-requests');
    expect(await attempt(own)).to.equal('enrolled');
    await limited.stop();
  });
});
