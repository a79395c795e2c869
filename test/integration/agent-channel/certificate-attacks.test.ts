import { X509Certificate } from 'node:crypto';
import { join } from 'node:path';
import { expect } from 'chai';
import { readKeyAndCertificate } from '../../../certs/key-store.js';
import { startAgentPort, type AgentPort, type ClientIdentity } from '../../support/agent-port.js';
import {
  attackCertificates,
  keepConnection,
  knock,
  requestBytes,
  TLS_VERSIONS,
  type AttackCertificate,
  type CertificateFault,
  type KeptConnection,
  type TlsVersion,
} from '../../support/certificate-attacks.js';
import { useDatabase } from '../../support/database.js';
import { addComputers, seedForest, steadyReport } from '../../support/ingest-world.js';

/** What a heartbeat with such a certificate is answered, by the manager's verdict alone. */
const HEARTBEAT_ANSWERS: Readonly<Record<CertificateFault, string>> = {
  none: '200',
  absent: '403 certificate-required',
  'unknown-authority': '403 certificate-refused',
  profile: '403 certificate-refused',
  expired: '403 clock-skew',
  'not-yet-valid': '403 clock-skew',
};

interface DoorRoute {
  readonly name: string;
  readonly bytes: () => string;
  /** The same whoever asks, where the certificate plays no part. */
  readonly answer: string | Readonly<Record<CertificateFault, string>>;
}

describe('certificates at the agent port', function () {
  this.timeout(60_000);
  const database = useDatabase();
  let port: AgentPort;
  let computerId: string;
  let certificates: readonly AttackCertificate[];

  let sequence = 0;
  const report = () => ({ ...steadyReport(port.world.clock.now), sequence: (sequence += 1) });
  const heartbeat = () => requestBytes('POST', '/agent/v1/heartbeat', report());
  const routes: readonly DoorRoute[] = [
    { name: 'a heartbeat', bytes: heartbeat, answer: HEARTBEAT_ANSWERS },
    {
      name: 'a heartbeat that is no JSON',
      bytes: () => requestBytes('POST', '/agent/v1/heartbeat', ['x']),
      answer: { ...HEARTBEAT_ANSWERS, none: '400 request-invalid' },
    },
    {
      name: 'an enrollment without token',
      bytes: () => requestBytes('POST', '/agent/v1/enroll', {}),
      answer: '400 request-invalid',
    },
    {
      name: 'the channel to come',
      bytes: () => requestBytes('GET', '/agent/v1/channel'),
      answer: '404 route-not-found',
    },
    {
      name: 'the console and API',
      bytes: () => requestBytes('GET', '/api/v1/computers'),
      answer: '403 forbidden',
    },
    { name: 'signing in', bytes: () => requestBytes('POST', '/api/v1/sessions', {}), answer: '403 forbidden' },
    { name: 'nothing known', bytes: () => requestBytes('GET', '/healthz'), answer: '404 route-not-found' },
  ];

  before(async () => {
    await seedForest(database.pool);
    port = await startAgentPort(database.pool, {}, { limits: { requestBurst: 10_000, requestsPerSecond: 10_000 } });
    [computerId = ''] = await addComputers(database.pool, 1);
    const issuer = readKeyAndCertificate(join(port.authorityDir, 'intermediate.pem'));
    certificates = attackCertificates({
      intermediate: { key: issuer!.key, x509: port.authority.intermediate },
      trustDomain: port.authority.trustDomain,
      role: 'computer',
      id: computerId,
      at: port.world.clock.now,
    });
  });
  after(() => port.stop());

  const lastSeen = async () => {
    const { rows } = await database.pool.query('SELECT last_seen_fleet_ms FROM computer_live WHERE computer_id = $1', [
      computerId,
    ]);
    return rows[0].last_seen_fleet_ms;
  };

  for (const { name, bytes, answer } of routes)
    for (const version of TLS_VERSIONS)
      it(`are judged alike over fresh and resumed ${version} sessions: ${name}`, async () => {
        const found: string[] = [];
        const due: string[] = [];
        for (const { name: certificate, fault, identity } of certificates) {
          const target = { port: port.server.port(), version, identity };
          const fresh = await knock({ ...target, bytes: bytes() });
          const resumed = await knock({ ...target, bytes: bytes(), session: fresh.session });
          const expected = typeof answer === 'string' ? answer : answer[fault];
          due.push(`${certificate}: ${expected}, resumed ${expected}`);
          found.push(
            `${certificate}: ${fresh.outcome}, ${resumed.isResumed ? 'resumed' : 'not resumed'} ${resumed.outcome}`,
          );
        }
        expect(found).to.deep.equal(due);
      });

  it('move nothing of the computer where they are refused', async () => {
    const seen = await lastSeen();
    port.world.clock.now += 1000;
    for (const { fault, identity } of certificates)
      for (const version of TLS_VERSIONS)
        if (fault !== 'none') await knock({ port: port.server.port(), version, identity, bytes: heartbeat() });
    expect(await lastSeen()).to.equal(seen);
    const [good] = certificates;
    const target = { port: port.server.port(), version: 'TLSv1.3', identity: good!.identity } as const;
    expect((await knock({ ...target, bytes: heartbeat() })).outcome).to.equal('200');
    expect(await lastSeen()).to.be.greaterThan(Number(seen));
  });

  describe('that were good when the session was made', () => {
    const set = (sql: string) => database.pool.query(sql, [computerId]);
    interface Turn {
      readonly name: string;
      readonly turn: () => Promise<unknown> | void;
      readonly back: () => Promise<unknown> | void;
      readonly answer: string;
    }
    const DAY = 86_400_000;
    const turns: readonly Turn[] = [
      {
        name: 'of a computer that was revoked',
        turn: () => set(`UPDATE computer_status SET status = 'revoked' WHERE computer_id = $1`),
        back: () => set(`UPDATE computer_status SET status = 'online' WHERE computer_id = $1`),
        answer: '403 computer-revoked',
      },
      {
        name: 'whose serial was revoked',
        turn: () => set(`UPDATE certificates SET revoked_at = to_timestamp(0) WHERE computer_id = $1`),
        back: () => set(`UPDATE certificates SET revoked_at = NULL WHERE computer_id = $1`),
        answer: '403 computer-revoked',
      },
      {
        name: 'that have expired',
        turn: () => void (port.world.clock.now += 31 * DAY),
        back: () => void (port.world.clock.now -= 31 * DAY),
        answer: '403 clock-skew',
      },
      {
        name: 'that are not valid yet by a clock set back',
        turn: () => void (port.world.clock.now -= DAY),
        back: () => void (port.world.clock.now += DAY),
        answer: '403 clock-skew',
      },
      {
        name: 'of a computer that was removed',
        turn: () => set('DELETE FROM computers WHERE id = $1'),
        back: () => undefined,
        answer: '403 computer-removed',
      },
    ];

    interface Held {
      readonly identity: ClientIdentity;
      readonly session: Buffer | undefined;
      readonly kept: KeptConnection;
    }

    async function hold(version: TlsVersion): Promise<Held> {
      const identity = port.identityOf(computerId);
      const serial = new X509Certificate(identity.cert).serialNumber.toLowerCase();
      await database.pool.query(
        `INSERT INTO certificates (serial, computer_id, key_digest, pem, not_before, not_after, issued_at)
         VALUES ($1, $2, '\\x00', '', to_timestamp(0), to_timestamp(0), to_timestamp(0))`,
        [serial, computerId],
      );
      const target = { port: port.server.port(), version, identity };
      const first = await knock({ ...target, bytes: heartbeat() });
      const kept = keepConnection(target);
      expect([first.outcome, await kept.ask(heartbeat())]).to.deep.equal(['200', '200']);
      return { identity, session: first.session, kept };
    }

    for (const { name, turn, back, answer } of turns)
      it(`are refused on kept, resumed and fresh connections: ${name}`, async () => {
        [computerId = ''] = await addComputers(database.pool, 1);
        const held = new Map<TlsVersion, Held>();
        for (const version of TLS_VERSIONS) held.set(version, await hold(version));
        await turn();
        const outcomes: Record<string, (string | boolean)[]> = {};
        for (const [version, { identity, session, kept }] of held) {
          const target = { port: port.server.port(), version, identity };
          const resumed = await knock({ ...target, bytes: heartbeat(), session });
          const fresh = await knock({ ...target, bytes: heartbeat() });
          outcomes[version] = [await kept.ask(heartbeat()), resumed.isResumed, resumed.outcome, fresh.outcome];
          kept.end();
        }
        await back();
        const due = [answer, true, answer, answer];
        expect(outcomes).to.deep.equal({ 'TLSv1.2': due, 'TLSv1.3': due });
      });
  });
});
