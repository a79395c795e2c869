import { expect } from 'chai';
import pg from 'pg';
import { createLog } from '../../../lib/log.js';
import { createSystemRandom } from '../../../lib/random.js';
import { createAuditLog } from '../../../server/audit/audit-log.js';
import { createAuditSealer, type AuditSealer } from '../../../server/audit/audit-sealer.js';
import { insertSeals, listRows } from '../../../server/audit/seal-repository.js';
import { FIRST_PREVIOUS_HASH, parseCheckpoint, sealHashOfRow } from '../../../server/audit/seal-rules.js';
import type { Checkpoint, Seal } from '../../../server/audit/seal-rules.js';
import { LOG_BEGINNING } from '../../../server/database/commit-order.js';
import { verifyAudit } from '../../../server/audit/verify-audit.js';
import { sqlOfClient } from '../../../server/database/sql.js';
import { createClaimedJob } from '../../../server/scheduler/claimed-job.js';
import { JOB_LEASE_MS } from '../../../server/scheduler/job-claim-repository.js';
import { useDatabase } from '../../support/database.js';
import { VerdictWorld } from '../../support/verdict-world.js';

const ROWS = 12;
const ACTOR = { kind: 'user', id: 'u1', name: 'ada', role: 'administrator', sourceAddress: '127.0.0.1' } as const;

describe('audit seals', function () {
  this.timeout(30_000);
  let owner: pg.Client;
  // Before the hook that drops the database.
  after(() => owner.end());
  const database = useDatabase();
  const random = createSystemRandom();
  let world: VerdictWorld;
  let logged: string[] = [];

  before(async () => {
    owner = new pg.Client({ ...database.ownerConnection });
    await owner.connect();
  });
  beforeEach(async () => {
    world = new VerdictWorld(database);
    logged = [];
    await owner.query('DELETE FROM audit_seals; DELETE FROM audit_log; DELETE FROM jobs');
  });

  const log = createLog({ name: 'test', level: 'silent' });
  const recording = { ...log, info: (fields: { checkpoint: string }) => void logged.push(fields.checkpoint) };
  const sql = () => sqlOfClient(database.pool);
  const sealer = (node = 'n1', options: { batchSize?: number; checkpointEvery?: number } = {}): AuditSealer =>
    createAuditSealer({
      job: createClaimedJob({
        name: 'audit-seals',
        owner: node,
        inTransaction: world.inTransaction,
        fleetClock: world.clock,
      }),
      sql: sql(),
      clock: world.clock,
      log: recording as unknown as typeof log,
      ...options,
    });
  const seal = (one = sealer()) => one.run(new AbortController().signal);

  async function append(count = ROWS): Promise<void> {
    const audit = createAuditLog({ clock: world.clock, random });
    for (let n = 0; n < count; n += 1)
      await world.inTransaction((inside) =>
        audit.append(inside, {
          actor: ACTOR,
          action: 'policy.changed',
          subjectType: 'policy',
          subjectId: `p${n}`,
          before: { n },
          after: { n: n + 0.1, text: 'Grüße\n"☃"' },
        }),
      );
  }

  async function idAt(number: number): Promise<string> {
    const { rows } = await owner.query('SELECT audit_id FROM audit_seals WHERE number = $1', [number]);
    return rows[0].audit_id as string;
  }
  const verify = (checkpoints: readonly Checkpoint[] = []) =>
    verifyAudit(sql(), { checkpoints, chunk: 5, now: world.clock.wall() });

  it('chain every row, in batches, and verify', async () => {
    await append();
    await seal(sealer('n1', { batchSize: 5 }));
    const verification = await verify();
    expect(verification).to.deep.include({ fault: null, verified: ROWS, waiting: 0 });
    await append(3);
    expect(await verify()).to.deep.include({ fault: null, verified: ROWS, waiting: 3 });
    await seal();
    expect(await verify([verification.checkpoint!])).to.deep.include({ fault: null, verified: ROWS + 3, waiting: 0 });
  });

  it('verify on an empty log', async () => {
    expect(await verify()).to.deep.equal({
      fault: null,
      verified: 0,
      checkpoint: null,
      waiting: 0,
      warnings: [],
      warningCount: 0,
    });
  });

  interface Tampering {
    readonly name: string;
    readonly sql: string;
    readonly kind: string;
    /** The number of the first bad seal. */
    readonly number: number | null;
    /** Is the fault seen only by who kept a checkpoint? */
    readonly needsCheckpoint?: true;
  }
  const row = (n: number) => `(SELECT audit_id FROM audit_seals WHERE number = ${n})`;
  const swap = (a: number, b: number) =>
    `CREATE TEMP TABLE swapped AS SELECT * FROM audit_seals WHERE number IN (${a}, ${b});
     DELETE FROM audit_seals WHERE number IN (${a}, ${b});
     INSERT INTO audit_seals SELECT s.number, o.audit_id, s.previous_hash, s.hash, s.sealed_at, o.transaction_id, s.cluster,
       s.format, s.row_hash, s.looked_at, s.looked_settled, s.looked_next FROM swapped s JOIN swapped o ON o.number <> s.number; DROP TABLE swapped`;
  const change = (set: string) => `UPDATE audit_log SET ${set} WHERE id = ${row(7)}`;
  const TAMPERINGS: readonly Tampering[] = [
    { name: 'the actor of a row', sql: change(`actor_name = 'eve'`), kind: 'row-changed', number: 7 },
    { name: 'the address of a row', sql: change(`source_address = NULL`), kind: 'row-changed', number: 7 },
    { name: 'the action', sql: change(`action = 'policy.created'`), kind: 'row-changed', number: 7 },
    { name: 'the subject', sql: change(`subject_id = 'p99'`), kind: 'row-changed', number: 7 },
    { name: 'the time by a microsecond', sql: change(`at = at + interval '1 us'`), kind: 'row-changed', number: 7 },
    { name: 'null against JSON null', sql: change(`before = 'null'`), kind: 'row-changed', number: 7 },
    {
      name: 'a number beyond doubles',
      sql: change(`after = jsonb_set(after, '{n}', '6.10000000000000000000001')`),
      kind: 'row-changed',
      number: 7,
    },
    { name: 'the transaction id', sql: change(`transaction_id = '4'`), kind: 'row-changed', number: 7 },
    { name: 'a row deleted', sql: `DELETE FROM audit_log WHERE id = ${row(4)}`, kind: 'row-deleted', number: 4 },
    {
      name: 'the first row deleted',
      sql: `DELETE FROM audit_log WHERE id = ${row(1)}`,
      kind: 'row-deleted',
      number: 1,
    },
    {
      name: 'the last row deleted',
      sql: `DELETE FROM audit_log WHERE id = ${row(12)}`,
      kind: 'row-deleted',
      number: 12,
    },
    {
      name: 'a row deleted with its seal',
      sql: `DELETE FROM audit_log WHERE id = ${row(4)}; DELETE FROM audit_seals WHERE number = 4`,
      kind: 'seal-missing',
      number: 4,
    },
    {
      name: 'a row deleted with its seal, the rest renumbered',
      sql: `DELETE FROM audit_log WHERE id = ${row(4)}; DELETE FROM audit_seals WHERE number = 4;
        UPDATE audit_seals SET number = -number WHERE number > 4; UPDATE audit_seals SET number = -number - 1 WHERE number < 0`,
      kind: 'seal-changed',
      number: 4,
    },
    { name: 'two neighbours reordered', sql: swap(6, 7), kind: 'row-reordered', number: 6 },
    { name: 'two distant rows reordered', sql: swap(2, 11), kind: 'row-reordered', number: 2 },
    {
      name: 'two rows with their ids exchanged',
      sql: `CREATE TEMP TABLE taken AS SELECT * FROM audit_log WHERE id IN (${row(5)}, ${row(9)});
        DELETE FROM audit_log WHERE id IN (SELECT id FROM taken);
        UPDATE taken SET id = CASE id WHEN ${row(5)} THEN ${row(9)} ELSE ${row(5)} END;
        INSERT INTO audit_log SELECT * FROM taken; DROP TABLE taken`,
      kind: 'row-changed',
      number: 5,
    },
    {
      name: 'a row put in between',
      sql: `INSERT INTO audit_log SELECT gen_random_uuid(), at, 'eve', 'eve', source_address, action, subject_type, subject_id,
        before, after, transaction_id FROM audit_log WHERE id = ${row(5)}`,
      kind: 'row-inserted',
      number: null,
    },
    {
      name: "a seal's hash",
      sql: `UPDATE audit_seals SET hash = decode(repeat('00', 32), 'hex') WHERE number = 8`,
      kind: 'seal-changed',
      number: 8,
    },
    {
      name: "the last seal's hash",
      sql: `UPDATE audit_seals SET hash = decode(repeat('00', 32), 'hex') WHERE number = 12`,
      kind: 'seal-changed',
      number: 12,
    },
    {
      name: "a seal's own time by a microsecond",
      sql: `UPDATE audit_seals SET sealed_at = sealed_at + interval '1 us' WHERE number = 3`,
      kind: 'seal-changed',
      number: 3,
    },
    {
      name: 'what the sealer had seen',
      sql: "UPDATE audit_seals SET looked_at = sealed_at, looked_settled = '1', looked_next = '1' WHERE number >= 3",
      kind: 'seal-changed',
      number: 3,
    },
    {
      name: "a seal's format",
      sql: 'UPDATE audit_seals SET format = 3 WHERE number = 3',
      kind: 'seal-changed',
      number: 3,
    },
    {
      name: 'an older format claimed',
      sql: 'UPDATE audit_seals SET format = 1 WHERE number = 3',
      kind: 'row-changed',
      number: 3,
    },
    {
      name: "every seal's cluster, and a row put in behind their back",
      sql: `UPDATE audit_seals SET cluster = '1'; INSERT INTO audit_log SELECT gen_random_uuid(), at, 'eve', 'eve', source_address,
        action, subject_type, subject_id, before, after, transaction_id FROM audit_log WHERE id = ${row(5)}`,
      kind: 'seal-changed',
      number: 1,
    },
    {
      name: 'the century',
      sql: change("at = (to_char(at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS.US') || '+00 BC')::timestamptz"),
      kind: 'row-changed',
      number: 7,
    },
    {
      name: 'a row of a transaction that has not begun',
      sql: `INSERT INTO audit_log SELECT gen_random_uuid(), at, 'eve', 'eve', source_address, action, subject_type, subject_id,
        before, after, '9000000000000000000' FROM audit_log WHERE id = ${row(5)}`,
      kind: 'row-unsealed',
      number: null,
    },
    {
      name: "a seal's previous hash",
      sql: `UPDATE audit_seals SET previous_hash = decode(repeat('00', 32), 'hex') WHERE number = 8`,
      kind: 'seal-changed',
      number: 8,
    },
    {
      name: "a seal's position",
      sql: `UPDATE audit_seals SET transaction_id = '9223372036854775807' WHERE number = 12`,
      kind: 'seal-changed',
      number: 12,
    },
    {
      name: 'the head cut off',
      sql: `DELETE FROM audit_log WHERE id IN (${row(1)}, ${row(2)}); DELETE FROM audit_seals WHERE number <= 2`,
      kind: 'seal-missing',
      number: 1,
    },
    {
      name: 'the tail cut off with its seals',
      sql: `DELETE FROM audit_log WHERE id IN (${row(11)}, ${row(12)}); DELETE FROM audit_seals WHERE number >= 11`,
      kind: 'truncated',
      number: 11,
      needsCheckpoint: true,
    },
    {
      name: 'everything deleted',
      sql: 'DELETE FROM audit_seals; DELETE FROM audit_log',
      kind: 'truncated',
      number: 1,
      needsCheckpoint: true,
    },
  ];

  // T22
  for (const { name, sql: statement, kind, number, needsCheckpoint } of TAMPERINGS)
    it(`tell of ${name}: ${kind}`, async () => {
      await append();
      await seal();
      const { checkpoint } = await verify();
      const badId = number === null || number > ROWS ? null : await idAt(number);
      await owner.query(statement);
      const { fault, verified } = await verify([checkpoint!]);
      expect(fault).to.include({ kind, number });
      if (['row-changed', 'row-deleted'].includes(kind)) expect(fault?.auditId).to.equal(badId);
      if (number !== null) expect(verified).to.equal(number - 1);
      expect((await verify()).fault === null).to.equal(needsCheckpoint === true);
    });

  it('tell of a chain that was made anew as a whole', async () => {
    await append();
    await seal();
    const { checkpoint } = await verify();
    await owner.query(`UPDATE audit_log SET actor_name = 'eve' WHERE id = ${row(3)}; DELETE FROM audit_seals`);
    await seal();
    expect((await verify()).fault).to.equal(null);
    expect((await verify([checkpoint!])).fault).to.include({ kind: 'rewritten', number: ROWS });
  });

  it('are made anew where only seals were deleted, which a checkpoint tells', async () => {
    await append();
    await seal();
    const { checkpoint } = await verify();
    await owner.query('DELETE FROM audit_seals WHERE number > 5');
    await world.clock.advance(1000);
    await seal();
    expect(await verify()).to.deep.include({ fault: null, verified: ROWS });
    expect((await verify([checkpoint!])).fault).to.include({ kind: 'rewritten', number: ROWS });
  });

  it('go on after a crash between two batches', async () => {
    await append();
    const crashing = sealer('n1', { batchSize: 5 });
    let batches = 0;
    const inTransaction = world.inTransaction;
    const faulty = createAuditSealer({
      job: createClaimedJob({
        name: 'audit-seals',
        owner: 'n1',
        fleetClock: world.clock,
        inTransaction: (work, options) => {
          batches += 1;
          return batches > 1 ? Promise.reject(new Error('killed')) : inTransaction(work, options);
        },
      }),
      sql: sql(),
      clock: world.clock,
      log,
      batchSize: 5,
    });
    await seal(faulty).catch(() => undefined);
    expect(await verify()).to.deep.include({ fault: null, verified: 5, waiting: ROWS - 5 });
    await seal(crashing);
    expect(await verify()).to.deep.include({ fault: null, verified: ROWS, waiting: 0 });
  });

  it('are made once when several managers seal at once, and by the next after the lease', async () => {
    await append(40);
    const sealers = ['n1', 'n2', 'n3'].map((node) => sealer(node, { batchSize: 3 }));
    await Promise.all(sealers.map(seal));
    await Promise.all(sealers.map(seal));
    expect(await verify()).to.deep.include({ fault: null, verified: 40, waiting: 0 });
    await append(1);
    await world.clock.advance(JOB_LEASE_MS + 1);
    await seal(sealers[2]);
    await seal(sealers[1]);
    await seal(sealers[0]);
    expect(await verify()).to.deep.include({ fault: null, verified: 41, waiting: 0 });
  });

  it('wait for a transaction that began before and is still open', async () => {
    const client = await database.pool.connect();
    try {
      await client.query('BEGIN');
      await createAuditLog({ clock: world.clock, random }).append(sqlOfClient(client), {
        actor: ACTOR,
        action: 'slow.done',
        subjectType: 'x',
        subjectId: null,
      });
      await append(2);
      await seal();
      expect(await verify()).to.deep.include({ fault: null, verified: 0, waiting: 2 });
      await client.query('COMMIT');
    } finally {
      client.release();
    }
    await seal();
    expect(await verify()).to.deep.include({ fault: null, verified: 3, waiting: 0 });
  });

  it('write checkpoints that verify: at the first batch, every so many seals, and at the stop', async () => {
    const one = sealer('n1', { batchSize: 5, checkpointEvery: 10 });
    await append(3);
    await seal(one);
    await append(21);
    await seal(one);
    await append(1);
    await one.close();
    const checkpoints = logged.map((text) => parseCheckpoint(text));
    expect(checkpoints.map((checkpoint) => checkpoint?.number)).to.deep.equal([3, 13, 23, 25]);
    expect((await verify(checkpoints as Checkpoint[])).fault).to.equal(null);
    await one.close();
    expect(logged).to.have.length(4);
  });

  it('go on after a dump was restored into a cluster whose transactions are counted from the start', async () => {
    await append();
    const farAhead = `(transaction_id::text::bigint + 1000000000000)::text::xid8`;
    await owner.query(`UPDATE audit_log SET transaction_id = ${farAhead}`);
    // What the old cluster sealed: the chain over these rows, by transactions that this cluster will not reach.
    await insertOldSeals('another');
    expect(await verify()).to.deep.include({ fault: null, verified: ROWS, waiting: 0 });
    await seal();
    await append(4);
    expect(await verify()).to.deep.include({ fault: null, verified: ROWS, waiting: 4 });
    await seal(sealer('n1', { batchSize: 3 }));
    expect(await verify()).to.deep.include({ fault: null, verified: ROWS + 4, waiting: 0 });
    await append(1);
    await seal();
    expect(await verify()).to.deep.include({ fault: null, verified: ROWS + 5, waiting: 0 });
  });

  /** Seals of format 1 over the rows as they are. */
  async function insertOldSeals(cluster: string): Promise<void> {
    const rows = await listRows(sql(), { after: LOG_BEGINNING.id, limit: 1000 });
    let hash = FIRST_PREVIOUS_HASH;
    const ordered = rows.toSorted((a, b) => Number(a.transaction_id) - Number(b.transaction_id));
    const seals = ordered.map((sealed, index): Seal => {
      const previousHash = hash;
      hash = sealHashOfRow(hash, sealed);
      const { id: auditId, transaction_id: transactionId } = sealed;
      const old = { format: 1, rowHash: null, look: null, sealedAt: '1970-01-01T00:00:00Z' };
      return { number: index + 1, auditId, transactionId, cluster, previousHash, hash, ...old };
    });
    await insertSeals(sql(), seals);
  }

  describe('of format 1', () => {
    beforeEach(async () => {
      await append();
      const { rows } = await owner.query('SELECT system_identifier::text AS id FROM pg_control_system()');
      await insertOldSeals(rows[0].id as string);
    });

    it('verify, and seals of today stand on them', async () => {
      expect(await verify()).to.deep.include({ fault: null, verified: ROWS, waiting: 0 });
      await append(2);
      await seal();
      expect(await verify()).to.deep.include({ fault: null, verified: ROWS + 2, waiting: 0, warningCount: 0 });
    });

    it('are told from their rows, where one follows', async () => {
      await owner.query(`UPDATE audit_seals SET hash = decode(repeat('00', 32), 'hex') WHERE number = 5`);
      expect((await verify()).fault).to.include({ kind: 'seal-changed', number: 5 });
    });

    it('tell of their rows', async () => {
      await owner.query(change(`actor_name = 'eve'`));
      expect((await verify()).fault).to.include({ kind: 'row-changed', number: 7 });
    });
  });

  it('find new rows with the position that an idle sealer keeps', async () => {
    const idle = sealer();
    await seal(idle);
    await seal(idle);
    await append(2);
    await seal(idle);
    expect(await verify()).to.deep.include({ fault: null, verified: 2, waiting: 0 });
  });

  it('cannot be changed by the application role', async () => {
    await append(1);
    await seal();
    for (const statement of [
      'UPDATE audit_log SET action = action',
      'DELETE FROM audit_log',
      'TRUNCATE audit_log',
      'UPDATE audit_seals SET number = number',
      'DELETE FROM audit_seals',
      'TRUNCATE audit_seals',
      `INSERT INTO audit_log (id, at, actor_id, actor_name, action, subject_type, transaction_id)
         VALUES (gen_random_uuid(), now(), 'eve', 'eve', 'x', 'x', '9000000000000000000')`,
    ]) {
      const code = await database.pool.query(statement).catch((error: { code?: string }) => error.code);
      expect(code, statement).to.equal('42501');
    }
  });
});
