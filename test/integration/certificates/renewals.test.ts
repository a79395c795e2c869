import { createHash, X509Certificate, type KeyObject } from 'node:crypto';
import { expect } from 'chai';
import type { Orders } from '../../../protocol/heartbeat-messages.js';
import { createSigningRequest } from '../../../certs/csr.js';
import {
  startAgentPort,
  computerOf,
  enrollBody,
  type AgentPort,
  type ClientIdentity,
} from '../../support/agent-port.js';
import { useDatabase } from '../../support/database.js';
import { newKey, spkiOf } from '../../support/forged-certificates.js';
import { changePolicy, seedForest, steadyReport } from '../../support/ingest-world.js';

const DAY_MS = 86_400_000;

interface Row {
  readonly serial: string;
  readonly renews: string | null;
  readonly used: boolean;
  readonly revoked_reason: string | null;
}

describe('renewal of certificates', function () {
  this.timeout(60_000);
  let port: AgentPort;
  const database = useDatabase();
  let sequence = 0;

  before(() => seedForest(database.pool));
  beforeEach(async () => {
    await changePolicy(database.pool, {});
    port = await startAgentPort(database.pool, { perAddressPerSecond: 1000, totalPerSecond: 1000 });
  });
  afterEach(() => port.stop());

  const pemOf = (key: KeyObject) => key.export({ type: 'pkcs8', format: 'pem' }).toString();
  const identityOf = (certificate: string, key: KeyObject): ClientIdentity => ({
    cert: certificate + port.authority.intermediatePem,
    key: pemOf(key),
  });
  const serialOf = ({ cert }: ClientIdentity) => new X509Certificate(cert).serialNumber.toLowerCase();
  const enroll = async (): Promise<{ id: string; key: KeyObject; identity: ClientIdentity }> => {
    const key = newKey();
    const { body, status } = await port.post('/agent/v1/enroll', enrollBody(await port.addToken(), key));
    expect(status).to.equal(200);
    const certificate = String(body['certificate']);
    return { id: computerOf(certificate), key, identity: identityOf(certificate, key) };
  };
  const post = (identity: ClientIdentity, changes: object = {}) => {
    sequence += 1;
    const report = { ...steadyReport(port.world.clock.now), sequence, ...changes };
    return port.post('/agent/v1/heartbeat', report, { identity });
  };
  const ask = async (identity: ClientIdentity, key: KeyObject, changes: object = {}): Promise<Orders> => {
    const answer = await post(identity, { renewal: { csr: createSigningRequest(key) }, ...changes });
    expect(answer.status, JSON.stringify(answer.body)).to.equal(200);
    return answer.body as unknown as Orders;
  };
  const certificatesOf = async (id: string): Promise<Row[]> => {
    const { rows } = await database.pool.query<Row>(
      `SELECT serial, renews, used_at IS NOT NULL AS used, revoked_reason FROM certificates
       WHERE computer_id = $1 ORDER BY issued_at, renews NULLS FIRST`,
      [id],
    );
    return rows;
  };
  const late = (identity: ClientIdentity, key: KeyObject) =>
    port.post('/agent/v1/renew', { protocolVersion: 1, csr: createSigningRequest(key) }, { identity });
  const codeOf = ({ body }: { body: Record<string, unknown> }) => String(body['type']).replace('/problems/', '');

  it('issues in the answer to the report that asks, and revokes the old one only when the new one is used', async () => {
    const { id, identity } = await enroll();
    port.world.clock.now += 15 * DAY_MS;
    const key = newKey();
    const { renewed } = await ask(identity, key);
    const next = identityOf(renewed!.certificate, key);
    expect(renewed!.chain).to.deep.equal([port.authority.intermediatePem, port.authority.rootPem]);
    expect((await certificatesOf(id)).map(({ used, revoked_reason: reason }) => [used, reason])).to.deep.equal([
      [false, null],
      [false, null],
    ]);
    expect((await post(identity)).status, 'the old one still counts').to.equal(200);
    port.world.clock.now += 1000;
    expect((await post(next)).status).to.equal(200);
    const [before, after] = await certificatesOf(id);
    expect(before).to.deep.include({ serial: serialOf(identity), revoked_reason: 'superseded' });
    expect(after).to.deep.include({
      serial: serialOf(next),
      renews: serialOf(identity),
      used: true,
      revoked_reason: null,
    });
    expect(codeOf(await post(identity))).to.equal('computer-revoked');
    expect((await post(next)).status).to.equal(200);
  });

  it('answers the same key with the same certificate, also a repeated report, as often as it is asked', async () => {
    const { id, identity } = await enroll();
    const key = newKey();
    const csr = createSigningRequest(key);
    const reportId = '22222222-2222-4222-8222-222222222222';
    sequence += 1;
    const report = { ...steadyReport(port.world.clock.now), sequence, reportId, renewal: { csr } };
    const send = async () => (await port.post('/agent/v1/heartbeat', report, { identity })).body as unknown as Orders;
    const [first, again] = [await send(), await send()];
    expect([first.effect, again.effect]).to.deep.equal(['accepted', 'repeat']);
    expect(again.renewed).to.deep.equal(first.renewed);
    expect((await ask(identity, key)).renewed).to.deep.equal(first.renewed);
    expect(await certificatesOf(id)).to.have.length(2);
  });

  it('does so for parallel requests of many computers in one batch, and loses none', async () => {
    const computers = await Promise.all(Array.from({ length: 12 }, enroll));
    const answers = await Promise.all(computers.map(({ identity }) => ask(identity, newKey())));
    expect(answers.every(({ renewed }) => renewed !== undefined)).to.equal(true);
    expect(new Set(answers.map(({ renewed }) => renewed!.certificate)).size).to.equal(12);
  });

  it('costs a report without one no statement', async () => {
    const { identity } = await enroll();
    await post(identity);
    const before = port.world.metrics.statements;
    await post(identity);
    expect(port.world.metrics.statements - before).to.equal(4);
  });

  it('stores the report of a request that is none, and says what is wrong with it', async () => {
    const { id, identity } = await enroll();
    const { body, status } = await post(identity, { renewal: { csr: 'no request' } });
    expect(status).to.equal(200);
    expect(body).to.deep.include({ effect: 'accepted' });
    expect((body['renewalRefused'] as { code: string }).code).to.equal('csr-invalid');
    expect(await certificatesOf(id)).to.have.length(1);
  });

  it('gives one computer few certificates at once, whatever it asks for', async () => {
    const { id, identity } = await enroll();
    const answers = [];
    for (let turn = 0; turn < 6; turn += 1) answers.push(await ask(identity, newKey()));
    expect(answers.map(({ renewed }) => renewed !== undefined)).to.deep.equal([true, true, true, true, false, false]);
    expect(answers.at(-1)?.renewalRefused?.code).to.equal('unavailable');
    expect(await certificatesOf(id)).to.have.length(5);
  });

  it('uses the last of several, and revokes what was issued before it', async () => {
    const { id, identity } = await enroll();
    const keys = [newKey(), newKey()];
    const issued: ClientIdentity[] = [];
    for (const key of keys) {
      port.world.clock.now += 1000;
      issued.push(identityOf((await ask(identity, key)).renewed!.certificate, key));
    }
    await post(issued[1]!);
    expect((await certificatesOf(id)).map(({ revoked_reason: reason }) => reason)).to.deep.equal([
      'superseded',
      'superseded',
      null,
    ]);
    expect(codeOf(await post(issued[0]!))).to.equal('computer-revoked');
  });

  it('takes the lifetime of the policy in force', async () => {
    const { identity } = await enroll();
    await changePolicy(database.pool, { certificateLifetimeDays: 3 });
    await port.world.settings.refresh();
    const { renewed } = await ask(identity, newKey());
    const { validFrom, validTo } = new X509Certificate(renewed!.certificate);
    expect((Date.parse(validTo) - Date.parse(validFrom)) / DAY_MS).to.be.within(3, 3.01);
    expect(Date.parse(validFrom), 'it begins in the past').to.be.below(port.world.clock.now - 4 * 60_000);
  });

  it('gives a revoked computer nothing', async () => {
    const { id, identity } = await enroll();
    await database.pool.query(`UPDATE computer_status SET status = 'revoked' WHERE computer_id = $1`, [id]);
    expect(codeOf(await post(identity, { renewal: { csr: createSigningRequest(newKey()) } }))).to.equal(
      'computer-revoked',
    );
    expect(await certificatesOf(id)).to.have.length(1);
  });

  describe('after expiry', () => {
    it('is given to the same key within the days of the policy, on its own path alone', async () => {
      const { id, key, identity } = await enroll();
      port.world.clock.now += 32 * DAY_MS;
      const refusal = await post(identity);
      expect(codeOf(refusal)).to.equal('clock-skew');
      expect(refusal.body).to.deep.include({ reason: 'tls-expired', managerTime: port.world.clock.now });
      const answers = [await late(identity, key), await late(identity, key)];
      expect(answers.map(({ status }) => status)).to.deep.equal([200, 200]);
      expect(answers[1]!.body['certificate']).to.equal(answers[0]!.body['certificate']);
      const next = identityOf(String(answers[0]!.body['certificate']), key);
      expect((await post(next)).status).to.equal(200);
      expect((await certificatesOf(id)).map(({ revoked_reason: reason }) => reason)).to.deep.equal([
        'superseded',
        null,
      ]);
      expect(codeOf(await late(identity, key)), 'a superseded one is not renewed').to.equal('computer-revoked');
    });

    for (const [name, days, code] of [
      ['before it', 10, 'renewal-refused'],
      ['later than the policy allows', 38, 'renewal-refused'],
    ] as const)
      it(`is refused ${name}`, async () => {
        const { key, identity } = await enroll();
        port.world.clock.now += days * DAY_MS;
        expect(codeOf(await late(identity, key))).to.equal(code);
      });

    it('is refused for another key, a stranger, and whoever shows nothing', async () => {
      const { key, identity } = await enroll();
      port.world.clock.now += 31 * DAY_MS;
      expect(codeOf(await late(identity, newKey()))).to.equal('renewal-refused');
      const unknown = port.identityOf('99999999-9999-4999-8999-999999999999');
      port.world.clock.now += 31 * DAY_MS;
      expect(codeOf(await late(unknown, key))).to.equal('renewal-refused');
      const csr = createSigningRequest(key);
      expect(codeOf(await port.post('/agent/v1/renew', { protocolVersion: 1, csr }))).to.equal('certificate-required');
    });

    it('is refused to a computer that was revoked', async () => {
      const { id, key, identity } = await enroll();
      await database.pool.query(`UPDATE computer_status SET status = 'revoked' WHERE computer_id = $1`, [id]);
      port.world.clock.now += 31 * DAY_MS;
      expect(codeOf(await late(identity, key))).to.equal('computer-revoked');
    });

    it('has an answer to garbage', async () => {
      const { identity } = await enroll();
      port.world.clock.now += 31 * DAY_MS;
      const answer = await port.post('/agent/v1/renew', { protocolVersion: 1, csr: 'none' }, { identity });
      expect([answer.status, codeOf(answer)]).to.deep.equal([400, 'csr-invalid']);
    });
  });

  it('keeps the digest of the key that was asked for', async () => {
    const { id, identity } = await enroll();
    const key = newKey();
    await ask(identity, key);
    const { rows } = await database.pool.query<{ key_digest: Buffer }>(
      'SELECT key_digest FROM certificates WHERE computer_id = $1 AND renews IS NOT NULL',
      [id],
    );
    expect(rows[0]?.key_digest.toString('hex')).to.equal(createHash('sha256').update(spkiOf(key)).digest('hex'));
  });
});
