import { expect } from 'chai';
import pg from 'pg';
import { createLog } from '../../../lib/log.js';
import { createSystemRandom } from '../../../lib/random.js';
import { createAuditLog } from '../../../server/audit/audit-log.js';
import { createAuditSealer, type AuditSealer } from '../../../server/audit/audit-sealer.js';
import { findLastSeal, insertSeals, listRows } from '../../../server/audit/seal-repository.js';
import { sealRow, toHashedInstant } from '../../../server/audit/seal-rules.js';
import { verifyAudit } from '../../../server/audit/verify-audit.js';
import { LOG_BEGINNING } from '../../../server/database/commit-order.js';
import { sqlOfClient } from '../../../server/database/sql.js';
import { createClaimedJob } from '../../../server/scheduler/claimed-job.js';
import { useDatabase } from '../../support/database.js';
import { VerdictWorld } from '../../support/verdict-world.js';

const ACTOR = { kind: 'user', id: 'u1', name: 'ada', role: 'administrator', sourceAddress: '127.0.0.1' } as const;
const HOUR = 3_600_000;
const DAY = 24 * HOUR;

// T22: what the owner of the database puts in later, and what only looks like it.
describe('the times of sealed rows', function () {
  this.timeout(30_000);
  let owner: pg.Client;
  after(() => owner.end());
  const database = useDatabase();
  const random = createSystemRandom();
  const sql = () => sqlOfClient(database.pool);
  let world: VerdictWorld;
  let warned: { auditId: string }[];

  before(async () => {
    owner = new pg.Client({ ...database.ownerConnection });
    await owner.connect();
  });
  beforeEach(async () => {
    world = new VerdictWorld(database);
    warned = [];
    await owner.query('DELETE FROM audit_seals; DELETE FROM audit_log; DELETE FROM jobs');
  });

  function sealer(node = 'n1'): AuditSealer {
    const { inTransaction, clock } = world;
    const job = createClaimedJob({ name: 'audit-seals', owner: node, inTransaction, fleetClock: clock });
    const silent = createLog({ name: 'test', level: 'silent' });
    const log = { ...silent, info: () => {}, warn: (facts: { auditId: string }) => void warned.push(facts) };
    return createAuditSealer({ job, sql: sql(), clock, log: log as unknown as typeof silent });
  }
  const seal = (one: AuditSealer) => one.run(new AbortController().signal);
  const verify = () => verifyAudit(sql(), { now: world.clock.wall() });

  async function append(): Promise<void> {
    const audit = createAuditLog({ clock: world.clock, random });
    const entry = { actor: ACTOR, action: 'policy.changed', subjectType: 'policy', subjectId: 'p' };
    await world.inTransaction((inside) => audit.append(inside, entry));
  }

  /** As the owner, with the transaction that the database gives unless one is named. */
  async function putIn(ageMs: number, transactionId?: string): Promise<string> {
    const { rows } = await owner.query(
      `INSERT INTO audit_log (id, at, actor_id, actor_name, action, subject_type, transaction_id)
       VALUES (gen_random_uuid(), $1, 'u1', 'ada', 'policy.changed', 'policy', COALESCE($2::xid8, pg_current_xact_id()))
       RETURNING id`,
      [new Date(world.clock.wall() - ageMs), transactionId ?? null],
    );
    return rows[0].id as string;
  }

  async function expectNamed(id: string): Promise<void> {
    const { fault, warnings, warningCount } = await verify();
    expect({ fault, warningCount }).to.deep.equal({ fault: null, warningCount: 1 });
    expect(warnings[0]).to.include({ kind: 'row-out-of-time', auditId: id });
  }

  it('tell of a row that is put in under an earlier time while the manager runs', async () => {
    const one = sealer();
    await append();
    await seal(one);
    await world.clock.advance(DAY);
    await seal(one);
    const id = await putIn(HOUR);
    await seal(one);
    await expectNamed(id);
    expect(warned.map(({ auditId }) => auditId)).to.deep.equal([id]);
  });

  it('tell of one that was put in while no manager ran', async () => {
    const one = sealer();
    await seal(one);
    await append();
    await seal(one);
    await world.clock.advance(DAY);
    const id = await putIn(DAY + HOUR);
    await seal(sealer());
    await expectNamed(id);
  });

  it('tell of one under an earlier transaction', async () => {
    const one = sealer();
    await append();
    await seal(one);
    const { rows } = await owner.query('SELECT pg_current_xact_id()::text AS id');
    for (let n = 0; n < 3; n += 1) await owner.query('SELECT pg_current_xact_id()');
    await seal(one);
    const id = await putIn(0, rows[0].id as string);
    await seal(one);
    await expectNamed(id);
  });

  it('tell of one under a time to come, and of one under none', async () => {
    const one = sealer();
    await seal(one);
    const id = await putIn(-HOUR);
    await seal(one);
    await expectNamed(id);
    await owner.query(
      `INSERT INTO audit_log (id, at, actor_id, actor_name, action, subject_type) VALUES (gen_random_uuid(), '-infinity', 'u1', 'a', 'x', 'x')`,
    );
    await seal(one);
    expect((await verify()).warningCount).to.equal(2);
  });

  it('tell of a row whose seal somebody else made, without what the sealer sees', async () => {
    const one = sealer();
    await seal(one);
    await append();
    await seal(one);
    await world.clock.advance(DAY);
    const id = await putIn(DAY + HOUR);
    const last = await findLastSeal(sql());
    const rows = await listRows(sql(), { after: LOG_BEGINNING.id, limit: 10 });
    const forged = (sealedAt: string) =>
      sealRow(
        last,
        rows.find((row) => row.id === id)!,
        { cluster: last!.cluster, sealedAt, look: null },
      );
    await insertSeals(sql(), [forged(last!.sealedAt)]);
    await expectNamed(id);
    await owner.query('DELETE FROM audit_seals WHERE number = 2');
    await insertSeals(sql(), [forged(toHashedInstant(world.clock.wall() - DAY - HOUR))]);
    expect((await verify()).warnings.map(({ kind }) => kind)).to.deep.equal(['seal-out-of-time']);
  });

  it('find nothing after the manager was down for days with rows unsealed', async () => {
    const one = sealer();
    await seal(one);
    await append();
    await seal(one);
    await world.clock.advance(HOUR);
    await append();
    await append();
    await world.clock.advance(5 * DAY);
    expect((await verify()).warnings.map(({ kind }) => kind)).to.deep.equal(['row-waiting']);
    await append();
    const other = sealer('n2');
    await seal(other);
    await append();
    await seal(other);
    expect(await verify()).to.deep.include({ fault: null, verified: 5, waiting: 0, warningCount: 0 });
  });

  it('find nothing where a transaction was open for long', async () => {
    const one = sealer();
    await seal(one);
    await owner.query('BEGIN');
    await putIn(0);
    await world.clock.advance(HOUR);
    await append();
    await seal(one);
    await owner.query('COMMIT');
    await world.clock.advance(1000);
    await seal(one);
    expect(await verify()).to.deep.include({ fault: null, verified: 2, waiting: 0, warningCount: 0 });
  });

  it('find nothing after the wall clock went forward, and only the step itself after it went back', async () => {
    const one = sealer();
    await seal(one);
    for (const step of [DAY, -DAY, HOUR, -HOUR]) {
      await append();
      world.clock.stepWall(step);
      await seal(one);
      await append();
      await world.clock.advance(60_000);
      await seal(one);
    }
    const { fault, verified, warnings } = await verify();
    expect({ fault, verified }).to.deep.equal({ fault: null, verified: 8 });
    expect(warnings.filter(({ kind }) => kind !== 'seal-out-of-time')).to.deep.equal([]);
    expect(warnings).to.have.length(2);
  });

  it('find nothing where several processes seal in turn', async () => {
    const nodes = ['n1', 'n2', 'n3'].map((node) => sealer(node));
    for (let turn = 0; turn < 9; turn += 1) {
      await append();
      await world.clock.advance(HOUR);
      for (const node of nodes.slice(turn % 3)) await seal(node);
      await append();
    }
    for (const node of nodes) await seal(node);
    expect(await verify()).to.deep.include({ fault: null, verified: 18, waiting: 0, warningCount: 0 });
  });
});
