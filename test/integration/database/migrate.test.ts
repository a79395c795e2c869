import { expect } from 'chai';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import pg from 'pg';
import type { QueryRunner } from 'typeorm';
import { dumpSchema, SCHEMA_FILE } from '../../../scripts/schema-dump.js';
import type { DatabaseAddress } from '../../../server/database/connection.js';
import { createDataSource, createPool } from '../../../server/database/data-source.js';
import { migrate, readRole } from '../../../server/database/migrate.js';
import { KeptNames0000000000022 } from '../../../server/database/migrations/0022-kept-names.js';
import { MIGRATIONS } from '../../../server/database/migrations/index.js';
import { sqlOfClient } from '../../../server/database/sql.js';
import { createDatabase, useDatabase, type Database } from '../../support/database.js';
import { eventually } from '../../support/poll.js';

const CHILD = fileURLToPath(new URL('../../support/database-child.js', import.meta.url));
const APP_ROLE = 'wardbeat_app';

describe('migrations', function () {
  this.timeout(60_000);

  describe('on an empty database', () => {
    let database: Database;
    let owner: pg.Pool;
    beforeEach(async () => {
      database = await createDatabase({ empty: true });
      owner = createPool({ connection: database.ownerConnection, poolSize: 2 });
    });
    afterEach(async () => {
      await owner.end();
      await database.drop();
    });

    it('run once when five managers start at once', async () => {
      const options = { owner: database.ownerConnection, appRole: APP_ROLE };
      const answers = await Promise.all(Array.from({ length: 5 }, () => migrate(options)));
      expect(answers).to.deep.equal(Array.from({ length: 5 }, () => ({ auditProtected: true })));
      const { rows } = await owner.query<{ name: string }>('SELECT name FROM migrations ORDER BY id');
      expect(rows.map(({ name }) => name)).to.deep.equal(MIGRATIONS.map(({ name }) => name));
    });

    it('leave nothing behind when they are killed half-way, and the next start does them all', async () => {
      const words = [CHILD, 'migrate-slowly', JSON.stringify(database.ownerConnection)];
      const child = spawn(process.execPath, words, { stdio: ['ignore', 'ignore', 'inherit'] });
      const standing = () =>
        owner
          .query("SELECT pid FROM pg_stat_activity WHERE query LIKE '%standing still%' AND pid <> pg_backend_pid()")
          .then(({ rows }) => (rows[0] as { pid: number } | undefined)?.pid);
      const backend = await eventually('the migration stands still', standing);
      child.kill('SIGKILL');
      await once(child, 'exit');
      // PostgreSQL notices a lost client at its next write; a long statement is ended the sooner.
      await owner.query('SELECT pg_terminate_backend($1)', [backend]);
      await migrate({ owner: database.ownerConnection, appRole: APP_ROLE });
      const { rows } = await owner.query(
        "SELECT to_regclass('half_way') AS half, to_regclass('computers') IS NOT NULL AS done",
      );
      expect(rows).to.deep.equal([{ half: null, done: true }]);
    });

    it('tell that the audit log is not protected when one role does everything', async () => {
      const own = await readRole(database.ownerConnection);
      expect(await migrate({ owner: database.ownerConnection, appRole: own })).to.deep.equal({ auditProtected: false });
      expect(await migrate({ owner: database.ownerConnection, appRole: undefined })).to.deep.equal({
        auditProtected: false,
      });
    });

    it('mend rights that were given or taken by hand', async () => {
      const options = { owner: database.ownerConnection, appRole: APP_ROLE };
      await migrate(options);
      await owner.query(
        `GRANT UPDATE, TRUNCATE, INSERT ON audit_log TO ${APP_ROLE}; GRANT INSERT (transaction_id) ON audit_log TO ${APP_ROLE};
         REVOKE INSERT (actor_id) ON audit_log FROM ${APP_ROLE}; REVOKE SELECT ON computers FROM ${APP_ROLE}`,
      );
      expect(await migrate(options)).to.deep.equal({ auditProtected: true });
      const { rows } = await owner.query(
        `SELECT has_table_privilege($1, 'computers', 'SELECT') AS reads, has_table_privilege($1, 'audit_log', 'UPDATE, TRUNCATE') AS changes,
           has_column_privilege($1, 'audit_log', 'actor_id', 'INSERT') AS appends,
           has_column_privilege($1, 'audit_log', 'transaction_id', 'INSERT') AS backdates`,
        [APP_ROLE],
      );
      expect(rows).to.deep.equal([{ reads: true, changes: false, appends: true, backdates: false }]);
    });

    it('write labels that were stored as key:value as key=value', async () => {
      const options = { owner: database.ownerConnection, appRole: APP_ROLE };
      await migrate(options);
      const runner = { query: (text: string) => owner.query(text) } as unknown as QueryRunner;
      const names = new KeptNames0000000000022();
      await names.down(runner);
      const labels = ['rack', 'rack:a', 'rack:a=b', 'rack=a:b'];
      await owner.query(
        `INSERT INTO maintenance_windows (id, label, starts_at, ends_at, comment, created_at, created_by)
         SELECT md5(label)::uuid, label, '2026-11-21T00:00:00Z', '2026-11-22T00:00:00Z', '', '2026-11-21T00:00:00Z', 'ada'
         FROM unnest($1::text[]) AS made (label)`,
        [labels],
      );
      await names.up(runner);
      const { rows } = await owner.query('SELECT label FROM maintenance_windows ORDER BY label');
      expect(rows.map(({ label }) => label).sort()).to.deep.equal(['rack', 'rack=a', 'rack=a:b', 'rack=a=b']);
    });

    it('take URLs as well, and so do pools and data sources', async () => {
      const toUrl = ({ host, port, user, password, database: name }: DatabaseAddress) => ({
        connectionString: `postgresql://${user}:${password}@/${name}?host=${encodeURIComponent(host)}&port=${port}`,
      });
      const app = toUrl(database.appConnection);
      const appRole = await readRole(app);
      expect(appRole).to.equal(APP_ROLE);
      expect(await migrate({ owner: toUrl(database.ownerConnection), appRole })).to.deep.equal({
        auditProtected: true,
      });
      const pool = createPool({ connection: app, poolSize: 1, applicationName: 'by-url', statementTimeoutMs: 1234 });
      const asked =
        "SELECT current_user AS who, current_setting('application_name') AS name, current_setting('statement_timeout') AS timeout";
      const expected = [{ who: APP_ROLE, name: 'by-url', timeout: '1234ms' }];
      expect((await pool.query(asked)).rows).to.deep.equal(expected);
      await pool.end();
      const options = { connection: app, entities: [], applicationName: 'by-url', statementTimeoutMs: 1234 };
      const dataSource = await createDataSource(options).initialize();
      expect(await dataSource.query(asked)).to.deep.equal(expected);
      await dataSource.destroy();
    });

    it('do not call the audit log protected when everybody may change it', async () => {
      const options = { owner: database.ownerConnection, appRole: APP_ROLE };
      await migrate(options);
      await owner.query('GRANT DELETE ON audit_seals TO PUBLIC');
      expect(await migrate(options)).to.deep.equal({ auditProtected: false });
    });
  });

  describe('done', () => {
    const database = useDatabase();

    it('give the application role the right to append to the audit log and to read it, and no other', async () => {
      const insert = `INSERT INTO audit_log (id, at, actor_id, actor_name, action, subject_type)
        VALUES ($1, $2, 'a', 'ada', 'test', 'none')`;
      await database.pool.query(insert, ['00000000-0000-4000-8000-000000000001', '2026-11-21T00:00:00Z']);
      expect((await database.pool.query('SELECT actor_name FROM audit_log')).rows).to.have.length(1);
      const refused = [
        "UPDATE audit_log SET actor_name = 'rex'",
        'DELETE FROM audit_log',
        'TRUNCATE audit_log',
        'DELETE FROM audit_seals',
        'UPDATE audit_seals SET number = 1',
        'DROP TABLE audit_log',
        'ALTER TABLE audit_log DISABLE TRIGGER ALL',
        'SELECT * FROM migrations',
        'CREATE TABLE mine (id integer)',
        'SET ROLE wardbeat_owner',
      ];
      for (const sql of refused) {
        const code = await database.pool.query(sql).catch((error: { code?: string }) => error.code);
        expect(code, sql).to.equal('42501');
      }
    });

    it('make what docs/schema.sql says', async () => {
      const owner = createPool({ connection: database.ownerConnection, poolSize: 1 });
      try {
        const dump = await dumpSchema(sqlOfClient(owner));
        expect(readFileSync(SCHEMA_FILE, 'utf8'), 'npm run schema writes it anew').to.equal(dump);
      } finally {
        await owner.end();
      }
    });

    it('use no clock and no chance of the database', async () => {
      const dump = await dumpSchema(sqlOfClient(database.pool));
      expect(dump).to.not.match(/\b(now|clock_timestamp|statement_timestamp|gen_random_uuid|random)\(/i);
      expect(dump).to.not.match(/\b(CURRENT_TIMESTAMP|CURRENT_DATE|LOCALTIMESTAMP)\b/i);
    });
  });
});
