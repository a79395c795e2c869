import { expect } from 'chai';
import { dropPartitions, ensurePartitions, type PartitionedTable } from '../../../server/database/partitions.js';
import { sqlOfClient, sqlOfManager } from '../../../server/database/sql.js';
import { useDatabase } from '../../support/database.js';

const DAY_MS = 86_400_000;
const NOON = Date.parse('2026-11-21T12:00:00Z');

describe('daily partitions', () => {
  const database = useDatabase();

  async function partitionsOf(table: string): Promise<readonly string[]> {
    const { rows } = await database.pool.query<{ name: string }>(
      'SELECT i.inhrelid::regclass::text AS name FROM pg_inherits i WHERE i.inhparent = $1::regclass ORDER BY 1',
      [table],
    );
    return rows.map(({ name }) => name);
  }

  async function addStatus(table: string, at: number, n: number): Promise<void> {
    const id = `00000000-0000-4000-8000-${String(n).padStart(12, '0')}`;
    await database.pool.query(
      `INSERT INTO ${table} (id, partition_at, computer_id, status, previous_status, reason, since_fleet_ms, noticed_fleet_ms)
       VALUES ($1, $2, $1, 'late', 'online', 'x', 1, 1)`,
      [id, new Date(at).toISOString()],
    );
  }

  it('are made by the application role, once, for every partitioned table', async () => {
    const sql = sqlOfClient(database.pool);
    for (const table of ['events', 'status_history', 'heartbeat_gaps'] satisfies PartitionedTable[]) {
      expect(await ensurePartitions(sql, { table, fromMs: NOON, days: 3 })).to.equal(3);
      expect(await ensurePartitions(sql, { table, fromMs: NOON, days: 3 })).to.equal(0);
      expect(await partitionsOf(table)).to.deep.equal([
        `${table}_default`,
        `${table}_p20261121`,
        `${table}_p20261122`,
        `${table}_p20261123`,
      ]);
    }
  });

  it('can be made through an EntityManager and by several managers at once', async () => {
    const options = { table: 'events', fromMs: NOON + 30 * DAY_MS, days: 5 } as const;
    const made = await Promise.all(
      Array.from({ length: 4 }, () => ensurePartitions(sqlOfManager(database.dataSource.manager), options)),
    );
    expect(made.toSorted()).to.deep.equal([0, 0, 0, 5]);
  });

  it('take over the rows that the default partition has caught, with the indexes of their table', async () => {
    const at = NOON + 60 * DAY_MS;
    await addStatus('status_history', at, 1);
    await addStatus('status_history', at + DAY_MS, 2);
    await ensurePartitions(sqlOfClient(database.pool), { table: 'status_history', fromMs: at, days: 1 });
    const { rows } = await database.pool.query(
      'SELECT tableoid::regclass::text AS place FROM status_history WHERE partition_at >= $1 ORDER BY partition_at',
      [new Date(at).toISOString()],
    );
    expect(rows).to.deep.equal([{ place: 'status_history_p20270120' }, { place: 'status_history_default' }]);
    const indexesOf = async (table: string): Promise<unknown> => {
      const found = await database.pool.query('SELECT count(*) AS count FROM pg_index WHERE indrelid = $1::regclass', [
        table,
      ]);
      return found.rows[0]?.count;
    };
    expect(await indexesOf('status_history_p20270120'))
      .to.equal(await indexesOf('status_history'))
      .and.to.be.above(1);
  });

  it('are dropped when their last instant is old enough, and the default partition is swept', async () => {
    const sql = sqlOfClient(database.pool);
    const fromMs = Date.parse('2025-01-01T00:00:00Z');
    await ensurePartitions(sql, { table: 'status_history', fromMs, days: 3 });
    await addStatus('status_history', fromMs - 5 * DAY_MS, 11);
    await addStatus('status_history', fromMs, 12);
    await addStatus('status_history', fromMs + 2 * DAY_MS, 13);
    const beforeMs = fromMs + 2 * DAY_MS - 1;
    expect(await dropPartitions(sql, { table: 'status_history', beforeMs })).to.equal(1);
    const { rows } = await database.pool.query("SELECT id FROM status_history WHERE partition_at < '2026-01-01'");
    expect(rows.map(({ id }: { id: string }) => Number(id.slice(-2)))).to.deep.equal([13]);
    expect(await dropPartitions(sql, { table: 'status_history', beforeMs: beforeMs + 1 })).to.equal(1);
  });

  it('refuse every table that is not partitioned so, and a number of days out of range', async () => {
    for (const table of ['audit_log', 'computers', 'events_default', 'pg_class', 'events; DROP TABLE users']) {
      const code = await database.pool
        .query('SELECT wardbeat_drop_partitions($1, $2)', [table, '2030-01-01Z'])
        .catch((error: { code?: string }) => error.code);
      expect(code, table).to.equal('22023');
    }
    const refused = await ensurePartitions(sqlOfClient(database.pool), {
      table: 'events',
      fromMs: NOON,
      days: 401,
    }).catch((error: { code?: string }) => error.code);
    expect(refused).to.equal('22023');
  });
});
