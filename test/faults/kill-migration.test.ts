import { expect } from 'chai';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import pg from 'pg';
import { dumpSchema, SCHEMA_FILE } from '../../scripts/schema-dump.js';
import { createPool } from '../../server/database/data-source.js';
import { migrate } from '../../server/database/migrate.js';
import { MIGRATIONS } from '../../server/database/migrations/index.js';
import { sqlOfClient } from '../../server/database/sql.js';
import { createDatabase, type Database } from '../support/database.js';
import { eventually } from '../support/poll.js';

const CHILD = fileURLToPath(new URL('../support/database-child.js', import.meta.url));
const APP_ROLE = 'wardbeat_app';
const STANDING = "SELECT pid FROM pg_stat_activity WHERE query LIKE '%standing still%' AND pid <> pg_backend_pid()";

describe('a migration that is killed', function () {
  this.timeout(60_000);
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

  for (const [number, { name }] of MIGRATIONS.entries())
    it(`in step ${number + 1}, ${name}, leaves nothing behind, and the next start does all`, async () => {
      const words = [CHILD, 'migrate-until', JSON.stringify(database.ownerConnection), String(number)];
      const child = spawn(process.execPath, words, { stdio: ['ignore', 'ignore', 'inherit'] });
      const backend = await eventually('the migration stands still', async () => (await owner.query(STANDING)).rows[0]);
      child.kill('SIGKILL');
      await once(child, 'exit');
      await owner.query('SELECT pg_terminate_backend($1)', [backend.pid]);
      const left = await eventually('the killed one is gone', async () => {
        if ((await owner.query(STANDING)).rows.length > 0) return undefined;
        return (await owner.query("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")).rows;
      });
      expect(left).to.deep.equal([{ tablename: 'migration_lock' }]);
      expect(await migrate({ owner: database.ownerConnection, appRole: APP_ROLE })).to.deep.equal({
        auditProtected: true,
      });
      expect(await dumpSchema(sqlOfClient(owner))).to.equal(readFileSync(SCHEMA_FILE, 'utf8'));
    });
});
