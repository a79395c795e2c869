import { expect } from 'chai';
import { createSystemClock } from '../../../lib/clock.js';
import { Problem } from '../../../lib/problem.js';
import { createSystemRandom } from '../../../lib/random.js';
import { isDataError, uniqueViolation } from '../../../server/database/database-errors.js';
import { createPool } from '../../../server/database/data-source.js';
import { createPoolUnitOfWork, createUnitOfWork } from '../../../server/database/in-transaction.js';
import { sqlOfClient, sqlOfManager, type Sql } from '../../../server/database/sql.js';
import { useDatabase } from '../../support/database.js';
import { eventually } from '../../support/poll.js';

const dependencies = { clock: createSystemClock(), random: createSystemRandom() };

type Run = <T>(work: (sql: Sql) => Promise<T>, options?: object) => Promise<T>;

describe('a transaction', () => {
  const database = useDatabase();
  const kinds: readonly [string, () => Run][] = [
    [
      'through TypeORM',
      () => (work, options) =>
        createUnitOfWork(database.dataSource, dependencies)((manager) => work(sqlOfManager(manager)), options),
    ],
    [
      'on the pool',
      () => (work, options) =>
        createPoolUnitOfWork(database.pool, dependencies)((client) => work(sqlOfClient(client)), options),
    ],
  ];

  before('make a table whose COMMIT kills its own connection', async () => {
    const owner = createPool({ connection: database.ownerConnection, poolSize: 1 });
    await owner.query(`
      CREATE TABLE fatal_commit (fatal boolean);
      GRANT INSERT ON fatal_commit TO wardbeat_app;
      CREATE FUNCTION end_connection() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN PERFORM pg_terminate_backend(pg_backend_pid()); RETURN NULL; END $$;
      CREATE CONSTRAINT TRIGGER fatal AFTER INSERT ON fatal_commit DEFERRABLE INITIALLY DEFERRED
        FOR EACH ROW WHEN (NEW.fatal) EXECUTE FUNCTION end_connection()`);
    await owner.end();
  });

  for (const [name, make] of kinds)
    describe(name, () => {
      beforeEach(async () => {
        await database.pool.query("DELETE FROM jobs; INSERT INTO jobs (name) VALUES ('one'), ('two')");
      });

      it('stores everything or nothing', async () => {
        const run = make();
        await run((sql) => sql.query("UPDATE jobs SET owner = 'a'"));
        const failed = run(async (sql) => {
          await sql.query("UPDATE jobs SET owner = 'b'");
          throw new Error('no');
        });
        expect(await failed.catch((error: Error) => error.message)).to.equal('no');
        expect(await owners()).to.deep.equal(['a', 'a']);
      });

      it('is run again after a deadlock', async () => {
        const run = make();
        const gates = [gate(), gate()];
        let runs = 0;
        const lockBoth = (first: string, second: string, index: number) =>
          run(async (sql) => {
            runs += 1;
            await sql.query('UPDATE jobs SET generation = generation + 1 WHERE name = $1', [first]);
            gates[index]!.open();
            await gates[1 - index]!.opened;
            await sql.query('UPDATE jobs SET generation = generation + 1 WHERE name = $1', [second]);
          });
        await Promise.all([lockBoth('one', 'two', 0), lockBoth('two', 'one', 1)]);
        expect(runs).to.equal(3);
        const { rows } = await database.pool.query('SELECT generation FROM jobs ORDER BY name');
        expect(rows).to.deep.equal([{ generation: 2 }, { generation: 2 }]);
      });

      it('is run again after a serialization failure, also one that COMMIT finds', async () => {
        const run = make();
        const gates = [gate(), gate()];
        let runs = 0;
        const copyCount = (index: number) =>
          run(
            async (sql) => {
              runs += 1;
              const [row] = await sql.query<{ count: number }>('SELECT count(*) AS count FROM jobs');
              await sql.query('INSERT INTO jobs (name, generation) VALUES ($1, $2)', [`copy-${index}`, row!.count]);
              gates[index]!.open();
              await gates[1 - index]!.opened;
            },
            { isolation: 'SERIALIZABLE' },
          );
        await Promise.all([copyCount(0), copyCount(1)]);
        expect(runs).to.be.greaterThan(2);
        const { rows } = await database.pool.query("SELECT generation FROM jobs WHERE name LIKE 'copy-%' ORDER BY 1");
        expect(rows).to.deep.equal([{ generation: 2 }, { generation: 3 }]);
      });

      it('is run again when its connection is lost while it works', async () => {
        let runs = 0;
        await make()(async (sql) => {
          runs += 1;
          await sql.query("UPDATE jobs SET owner = 'again'");
          if (runs === 1) await sql.query('SELECT pg_terminate_backend(pg_backend_pid())');
        });
        expect(runs).to.equal(2);
        expect(await owners()).to.deep.equal(['again', 'again']);
      });

      it('is run again when its connection was lost before COMMIT was sent', async () => {
        let runs = 0;
        await make()(async (sql) => {
          runs += 1;
          const [row] = await sql.query<{ pid: number }>('SELECT pg_backend_pid() AS pid');
          await sql.query("UPDATE jobs SET owner = 'again'");
          if (runs > 1) return;
          await database.pool.query('SELECT pg_terminate_backend($1, 5000)', [row!.pid]);
          // The driver has read the end of the connection once a statement is refused.
          await eventually('the loss is noticed', () =>
            sql.query('SELECT 1').then(
              () => false,
              () => true,
            ),
          );
        });
        expect(runs).to.equal(2);
        expect(await owners()).to.deep.equal(['again', 'again']);
      });

      it('is not run again when nobody knows whether COMMIT succeeded, unless that does no harm', async () => {
        for (const [idempotent, expected] of [
          [false, 1],
          [true, 2],
        ] as const) {
          let runs = 0;
          const answer = await make()(
            async (sql) => {
              runs += 1;
              await sql.query('INSERT INTO fatal_commit (fatal) VALUES ($1)', [runs === 1]);
            },
            { idempotent },
          ).catch((error: unknown) => error);
          expect(runs, String(idempotent)).to.equal(expected);
          if (!idempotent) expect((answer as Problem).code).to.equal('unavailable');
        }
      });

      it('answers `unavailable` when the conflict does not end, after the attempts it was given', async () => {
        let runs = 0;
        const failure = await make()(
          async (sql) => {
            runs += 1;
            await sql.query("DO $$ BEGIN RAISE EXCEPTION 'conflict' USING ERRCODE = '40001'; END $$");
          },
          { attempts: 3 },
        ).catch((error: unknown) => error);
        expect(failure).to.be.instanceOf(Problem);
        expect((failure as Problem).code).to.equal('unavailable');
        expect(runs).to.equal(3);
      });

      it('names the unique constraint and tells data errors from others', async () => {
        const twice = await make()((sql) => sql.query("INSERT INTO jobs (name) VALUES ('one')")).catch(
          (e: unknown) => e,
        );
        expect(uniqueViolation(twice)).to.equal('jobs_pkey');
        expect(isDataError(twice)).to.equal(false);
        for (const text of ["SELECT 'x'::uuid", 'INSERT INTO verdict_shards (shard) VALUES (99)', 'SELECT $1::text']) {
          const parameters = text.includes('$1') ? ['a\0b'] : [];
          const failure = await make()((sql) => sql.query(text, parameters)).catch((e: unknown) => e);
          expect(isDataError(failure), text).to.equal(true);
          expect(uniqueViolation(failure)).to.equal(undefined);
        }
      });
    });

  it('reads bigint as a number and refuses one that a number cannot hold', async () => {
    const { rows } = await database.pool.query(
      "SELECT 9007199254740991::bigint AS big, '{1,NULL}'::bigint[] AS many, DATE '2026-11-21' AS day",
    );
    expect(rows).to.deep.equal([{ big: 9007199254740991, many: [1, null], day: '2026-11-21' }]);
    const refused = await database.pool.query('SELECT 9007199254740993::bigint').catch((error: unknown) => error);
    expect(refused).to.be.instanceOf(RangeError);
    expect((await database.pool.query('SELECT 1::bigint AS one')).rows).to.deep.equal([{ one: 1 }]);
    expect(await database.dataSource.query('SELECT 5::bigint AS five')).to.deep.equal([{ five: 5 }]);
  });

  async function owners(): Promise<readonly string[]> {
    const { rows } = await database.pool.query<{ owner: string }>('SELECT owner FROM jobs ORDER BY name');
    return rows.map(({ owner }) => owner);
  }
});

function gate(): { readonly opened: Promise<void>; open(): void } {
  let open = () => undefined as void;
  const opened = new Promise<void>((resolve) => (open = resolve));
  return { opened, open };
}
