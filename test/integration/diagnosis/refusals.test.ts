import { expect } from 'chai';
import { computerSpiffeId } from '../../../certs/certificate-profile.js';
import { Problem } from '../../../lib/problem.js';
import { createLog } from '../../../lib/log.js';
import { createSystemRandom } from '../../../lib/random.js';
import { createHotTransaction } from '../../../server/database/hot-transaction.js';
import { createPoolUnitOfWork } from '../../../server/database/in-transaction.js';
import { createRefusalRecorder, type RefusalRecorder } from '../../../server/diagnosis/index.js';
import { startAgentPort, type AgentPort } from '../../support/agent-port.js';
import { useDatabase } from '../../support/database.js';
import { forgeAuthority, forgeCertificate, leafExtensions } from '../../support/forged-certificates.js';
import { addComputers, handClock, seedForest, steadyReport } from '../../support/ingest-world.js';

const HEARTBEAT = '/agent/v1/heartbeat';
const DAY = 86_400_000;

describe('what the agent port refused of a computer', () => {
  const database = useDatabase();
  let port: AgentPort;
  let refusals: RefusalRecorder;
  let isAway = false;
  let statements = 0;
  let start: number;

  before(async () => {
    await seedForest(database.pool);
    const inTransaction = createHotTransaction(
      createPoolUnitOfWork(database.pool, { clock: handClock(), random: createSystemRandom() }),
    );
    refusals = createRefusalRecorder({
      inTransaction: (work, options) => {
        statements += 1;
        return inTransaction(work, options);
      },
      isDatabaseAway: () => isAway,
      log: createLog({ name: 'test', level: 'silent' }),
    });
    port = await startAgentPort(
      database.pool,
      {},
      { limits: { requestsPerSecond: 0.001, requestBurst: 3 }, noteRefusal: (one) => refusals.note(one) },
    );
    start = port.world.clock.now;
  });
  after(() => port.stop());
  beforeEach(() => {
    statements = 0;
    isAway = false;
    port.world.clock.now = start;
  });

  const computer = async () => (await addComputers(database.pool, 1))[0] ?? '';
  let sequence = 0;
  const report = (changes: object = {}) => ({ ...steadyReport(start), sequence: (sequence += 1), ...changes });
  const codeOf = async (answer: Promise<{ status: number; body: Record<string, unknown> }>) => {
    const { status, body } = await answer;
    return status === 200 ? 'accepted' : String(body['type']).replace('/problems/', '');
  };
  const remembered = async (id: string) => {
    await refusals.settled();
    const { rows } = await database.pool.query(
      'SELECT code, refused_fleet_ms, source_address, detail FROM computer_refusals WHERE computer_id = $1 ORDER BY code',
      [id],
    );
    return rows.map((row) => [row.code, row.refused_fleet_ms.length, row.source_address]);
  };

  it('is nothing, and no statement, for good heartbeats', async () => {
    const id = await computer();
    const answer = port.post(HEARTBEAT, report(), { identity: port.identityOf(id) });
    expect(await codeOf(answer)).to.equal('accepted');
    expect([await remembered(id), statements]).to.deep.equal([[], 0]);
  });

  it('is that its certificate had expired, or was not valid yet, on a connection that was opened then', async () => {
    const id = await computer();
    const identity = port.identityOf(id);
    port.world.clock.now = start + 40 * DAY;
    expect(await codeOf(port.post(HEARTBEAT, report(), { identity }))).to.equal('clock-skew');
    port.world.clock.now = start - 40 * DAY;
    expect(await codeOf(port.post(HEARTBEAT, report(), { identity }))).to.equal('clock-skew');
    expect(await remembered(id)).to.deep.equal([
      ['tls-expired', 1, '127.0.0.1'],
      ['tls-not-yet-valid', 1, '127.0.0.1'],
    ]);
  });

  it("is never what a stranger's certificate only claims, whatever its dates", async () => {
    const id = await computer();
    const stranger = forgeAuthority(start);
    for (const [from, to] of [
      [start - 9 * DAY, start - 8 * DAY],
      [start - DAY, start + DAY],
      [start + 8 * DAY, start + 9 * DAY],
    ] as const) {
      const { intermediate, root } = stranger;
      const extensions = Object.values(leafExtensions(computerSpiffeId('test.wardbeat', id)));
      const leaf = forgeCertificate({ name: 'x', issuer: intermediate, notBefore: from, notAfter: to, extensions });
      const cert = [leaf, intermediate, root].map(({ pem }) => pem).join('');
      const identity = { cert, key: leaf.keyPem };
      expect(await codeOf(port.post(HEARTBEAT, report(), { identity }))).to.equal('certificate-refused');
    }
    expect(await codeOf(port.post(HEARTBEAT, report({ computerId: id })))).to.equal('certificate-required');
    expect([await remembered(id), statements]).to.deep.equal([[], 0]);
  });

  it('is of the computer that the certificate proves, not of the one that its report names', async () => {
    const [rogue, victim] = [await computer(), await computer()];
    const answer = port.post(HEARTBEAT, report({ computerId: victim }), { identity: port.identityOf(rogue) });
    expect(await codeOf(answer)).to.equal('identity-mismatch');
    expect(await remembered(rogue)).to.deep.equal([['identity-mismatch', 1, '127.0.0.1']]);
    expect(await remembered(victim)).to.deep.equal([]);
  });

  it('is that it was revoked, that its report was bad, and that it sent too much', async () => {
    const id = await computer();
    const identity = port.identityOf(id);
    expect(await codeOf(port.post(HEARTBEAT, '{', { identity }))).to.equal('request-invalid');
    await database.pool.query("UPDATE computer_status SET status = 'revoked' WHERE computer_id = $1", [id]);
    expect(await codeOf(port.post(HEARTBEAT, report(), { identity }))).to.equal('computer-revoked');
    await port.post(HEARTBEAT, report(), { identity });
    expect(await codeOf(port.post(HEARTBEAT, report(), { identity }))).to.equal('too-many-requests');
    expect((await remembered(id)).map(([code]) => code)).to.deep.equal(['report-refused', 'revoked', 'throttled']);
  });

  it('is written once a minute, and only the last five are kept', async () => {
    const id = await computer();
    const note = (at: number) =>
      refusals.note({ computerId: id, problem: new Problem('too-many-requests'), address: null, at });
    const instants = async () => {
      await refusals.settled();
      const { rows } = await database.pool.query(
        'SELECT to_jsonb(refused_fleet_ms) AS at FROM computer_refusals WHERE computer_id = $1',
        [id],
      );
      return rows[0]?.at as number[];
    };
    for (const at of [0, 1, 59_999]) note(at);
    expect(await instants()).to.deep.equal([0]);
    for (const at of [60_000, 119_999]) note(at);
    expect(await instants()).to.deep.equal([0, 60_000]);
    expect(statements).to.equal(2);
    for (let minute = 2; minute <= 7; minute += 1) {
      note(minute * 60_000);
      await instants();
    }
    expect(await instants()).to.deep.equal([3, 4, 5, 6, 7].map((minute) => minute * 60_000));
  });

  it('is once a minute among processes too', async () => {
    const id = await computer();
    const problem = new Problem('computer-revoked');
    const inTransaction = createHotTransaction(
      createPoolUnitOfWork(database.pool, { clock: handClock(), random: createSystemRandom() }),
    );
    const log = createLog({ name: 'test', level: 'silent' });
    for (const at of [0, 59_999, 60_000]) {
      const other = createRefusalRecorder({ inTransaction, isDatabaseAway: () => false, log });
      other.note({ computerId: id, problem, address: '10.0.0.1', at });
      await other.settled();
    }
    expect(await remembered(id)).to.deep.equal([['revoked', 2, '10.0.0.1']]);
  });

  it('is forgotten with the computer, and lost while the database is away', async () => {
    const id = await computer();
    const problem = new Problem('computer-revoked');
    refusals.note({ computerId: '7d2f6a52-3b6c-4d0e-9a59-2f0f5a1b2c3d', problem, address: null, at: 1 });
    isAway = true;
    refusals.note({ computerId: id, problem, address: null, at: 1 });
    expect(await remembered(id)).to.deep.equal([]);
    expect(await remembered('7d2f6a52-3b6c-4d0e-9a59-2f0f5a1b2c3d')).to.deep.equal([]);
    isAway = false;
    refusals.note({ computerId: id, problem, address: null, at: 2 });
    expect(await remembered(id)).to.deep.equal([['revoked', 1, null]]);
  });
});
