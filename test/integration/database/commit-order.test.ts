import { expect } from 'chai';
import type pg from 'pg';
import { createSystemRandom } from '../../../lib/random.js';
import { LOG_BEGINNING, readInCommitOrder, type CommitPosition } from '../../../server/database/commit-order.js';
import { sqlOfClient } from '../../../server/database/sql.js';
import { useDatabase } from '../../support/database.js';

describe('reading a log in commit order', () => {
  const database = useDatabase();
  const random = createSystemRandom();
  const log = { table: 'audit_log', columns: 'audit_log.action' } as const;
  let position: CommitPosition = LOG_BEGINNING;

  const append = (client: pg.Pool | pg.PoolClient, action: string) =>
    client.query(
      `INSERT INTO audit_log (id, at, actor_id, actor_name, action, subject_type)
       VALUES ($1, '2026-11-21T12:00:00Z', 'a', 'ada', $2, 'x')`,
      [random.uuid(), action],
    );

  async function readOn(limit = 100): Promise<string[]> {
    const page = await readInCommitOrder<{ action: string }>(sqlOfClient(database.pool), log, {
      after: position,
      limit,
    });
    position = page.position;
    return page.rows.map(({ action }) => action);
  }

  it('passes over nothing when the transaction that began first commits last', async () => {
    const [early, late] = [await database.pool.connect(), await database.pool.connect()];
    try {
      await early.query('BEGIN');
      await append(early, 'early-1');
      await late.query('BEGIN');
      await append(late, 'late');
      await late.query('COMMIT');
      // `late` is committed and visible, but `early` could still come before it.
      expect((await database.pool.query('SELECT action FROM audit_log')).rows).to.deep.equal([{ action: 'late' }]);
      expect(await readOn()).to.deep.equal([]);
      expect(position).to.deep.equal(LOG_BEGINNING);
      await append(early, 'early-2');
      await early.query('COMMIT');
      const [first, second, third] = await readOn();
      expect([first, second].toSorted()).to.deep.equal(['early-1', 'early-2']);
      expect(third).to.equal('late');
      expect(await readOn()).to.deep.equal([]);
    } finally {
      early.release();
      late.release();
    }
  });

  it('reads on while one transaction stays open, up to where that began', async () => {
    const open = await database.pool.connect();
    try {
      await append(database.pool, 'before');
      await open.query('BEGIN');
      await append(open, 'open');
      await append(database.pool, 'after');
      expect(await readOn()).to.deep.equal(['before']);
      expect(await readOn()).to.deep.equal([]);
      await open.query('ROLLBACK');
      expect(await readOn()).to.deep.equal(['after']);
    } finally {
      open.release();
    }
  });

  it('goes on within a transaction when a page ends there', async () => {
    const client = await database.pool.connect();
    await client.query('BEGIN');
    for (let n = 0; n < 7; n += 1) await append(client, `n${n}`);
    await client.query('COMMIT');
    client.release();
    const pages = [await readOn(3), await readOn(3), await readOn(3), await readOn(3)];
    expect(pages.map(({ length }) => length)).to.deep.equal([3, 3, 1, 0]);
    expect(new Set(pages.flat()).size).to.equal(7);
  });

  it('misses nothing and repeats nothing under many writers', async () => {
    const written = new Set<string>();
    const read: string[] = [];
    const writers = Array.from({ length: 5 }, async (_writer, w) => {
      const client = await database.pool.connect();
      for (let t = 0; t < 20; t += 1) {
        await client.query('BEGIN');
        for (let n = 0; n <= t % 3; n += 1) {
          written.add(`w${w}-${t}-${n}`);
          await append(client, `w${w}-${t}-${n}`);
        }
        await client.query('COMMIT');
      }
      client.release();
    });
    const done = Promise.all(writers).then(() => true);
    let finished = false;
    while (!finished) {
      finished = await Promise.race([done, Promise.resolve(false)]);
      read.push(...(await readOn(10)));
    }
    for (let page = await readOn(50); page.length > 0; page = await readOn(50)) read.push(...page);
    expect(read).to.have.length(written.size);
    expect(new Set(read)).to.deep.equal(written);
  });

  it('uses the index of both logs', async () => {
    const client = await database.pool.connect();
    try {
      await client.query('SET enable_seqscan = off');
      for (const table of ['audit_log', 'events']) {
        const { rows } = await client.query<{ 'QUERY PLAN': string }>(
          `EXPLAIN SELECT id FROM ${table} WHERE (transaction_id, id) > ('5'::xid8, '00000000-0000-0000-0000-000000000000')
           AND transaction_id < pg_snapshot_xmin(pg_current_snapshot()) ORDER BY transaction_id, id LIMIT 10`,
        );
        const plan = rows.map((row) => row['QUERY PLAN']).join('\n');
        expect(plan, table)
          .to.match(/Index (Only )?Scan/)
          .and.not.include('Sort');
      }
    } finally {
      await client.query('RESET enable_seqscan');
      client.release();
    }
  });
});
