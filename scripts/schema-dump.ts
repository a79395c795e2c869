import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { createSystemClock } from '../lib/clock.js';
import { createLog } from '../lib/log.js';
import { createSystemRandom } from '../lib/random.js';
import { createPool } from '../server/database/data-source.js';
import { createEmbeddedPostgres } from '../server/database/embedded-postgres.js';
import { migrate } from '../server/database/migrate.js';
import { sqlOfClient, type Sql } from '../server/database/sql.js';

const HEADER = '-- The schema that the migrations make, for review. Written by npm run schema; do not edit.';
export const SCHEMA_FILE = 'docs/schema.sql';

const COLUMNS = `
SELECT c.relname AS table_name, '  ' || quote_ident(a.attname) || ' ' || format_type(a.atttypid, a.atttypmod)
  || CASE WHEN a.attnotnull THEN ' NOT NULL' ELSE '' END
  || CASE WHEN a.attidentity <> '' THEN ' GENERATED AS IDENTITY' ELSE '' END
  || COALESCE(' DEFAULT ' || pg_get_expr(d.adbin, d.adrelid), '') AS line
FROM pg_class c
JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition
ORDER BY c.relname, a.attnum`;

const CONSTRAINTS = `
SELECT c.relname AS table_name, '  CONSTRAINT ' || quote_ident(k.conname) || ' ' || pg_get_constraintdef(k.oid) AS line
FROM pg_class c JOIN pg_constraint k ON k.conrelid = c.oid
WHERE c.relnamespace = 'public'::regnamespace AND NOT c.relispartition AND k.contype <> 'n'
ORDER BY c.relname, k.contype = 'p' DESC, k.conname`;

const TABLES = `
SELECT c.relname AS table_name,
  COALESCE(' PARTITION BY ' || pg_get_partkeydef(c.oid), '')
  || COALESCE(' WITH (' || array_to_string(c.reloptions, ', ') || ')', '') AS line
FROM pg_class c
WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition
ORDER BY c.relname`;

const PARTITIONS = `
SELECT p.relname AS table_name, 'CREATE TABLE ' || c.relname || ' PARTITION OF ' || p.relname || ' '
  || pg_get_expr(c.relpartbound, c.oid) || ';' AS line
FROM pg_class c JOIN pg_inherits i ON i.inhrelid = c.oid JOIN pg_class p ON p.oid = i.inhparent
WHERE c.relnamespace = 'public'::regnamespace AND c.relispartition AND c.relkind IN ('r', 'p')
ORDER BY p.relname, c.relname`;

const INDEXES = `
SELECT c.relname AS table_name, pg_get_indexdef(x.indexrelid) || ';' AS line
FROM pg_index x JOIN pg_class c ON c.oid = x.indrelid JOIN pg_class i ON i.oid = x.indexrelid
WHERE c.relnamespace = 'public'::regnamespace AND NOT c.relispartition
  AND NOT EXISTS (SELECT 1 FROM pg_constraint k WHERE k.conindid = x.indexrelid AND k.contype IN ('p', 'u', 'x'))
ORDER BY c.relname, i.relname`;

const GRANTS = `
SELECT c.relname AS table_name, 'GRANT ' || string_agg(a.privilege_type, ', ' ORDER BY a.privilege_type) || ' ON '
  || c.relname || ' TO ' || a.grantee::regrole || ';' AS line
FROM pg_class c, aclexplode(c.relacl) a
WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p') AND a.grantee <> c.relowner
GROUP BY c.relname, a.grantee ORDER BY c.relname, a.grantee::regrole::text`;

const COLUMN_GRANTS = `
SELECT c.relname AS table_name, 'GRANT ' || a.privilege_type || ' (' || string_agg(t.attname, ', ' ORDER BY t.attnum)
  || ') ON ' || c.relname || ' TO ' || a.grantee::regrole || ';' AS line
FROM pg_class c JOIN pg_attribute t ON t.attrelid = c.oid AND NOT t.attisdropped, aclexplode(t.attacl) a
WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p') AND a.grantee <> c.relowner
GROUP BY c.relname, a.grantee, a.privilege_type ORDER BY c.relname, a.grantee::regrole::text, a.privilege_type`;

const FUNCTIONS = `
SELECT p.proname AS table_name, pg_get_functiondef(p.oid) || ';' AS line FROM pg_proc p
WHERE p.pronamespace = 'public'::regnamespace ORDER BY p.proname, pg_get_function_identity_arguments(p.oid)`;

interface Line {
  readonly table_name: string;
  readonly line: string;
}

/** Tables, constraints, partitions, indexes, rights and functions of schema `public`, from the catalogues, by name. */
export async function dumpSchema(sql: Sql): Promise<string> {
  const tables = await sql.query<Line>(TABLES);
  const columns = await linesByTable(sql, COLUMNS);
  const constraints = await linesByTable(sql, CONSTRAINTS);
  const others = [
    await linesByTable(sql, PARTITIONS),
    await linesByTable(sql, INDEXES),
    await linesByTable(sql, GRANTS),
    await linesByTable(sql, COLUMN_GRANTS),
  ];
  const parts = tables.map(({ table_name: name, line }) => {
    const members = [...(columns.get(name) ?? []), ...(constraints.get(name) ?? [])].join(',\n');
    const table = `CREATE TABLE ${name} (\n${members}\n)${line};`;
    return [table, ...others.flatMap((lines) => lines.get(name) ?? [])].join('\n');
  });
  const functions = (await sql.query<Line>(FUNCTIONS)).map(({ line }) => line);
  return [HEADER, ...parts, ...functions, ''].join('\n\n').replace(/\n+$/, '\n');
}

async function linesByTable(sql: Sql, text: string): Promise<ReadonlyMap<string, readonly string[]>> {
  const result = new Map<string, string[]>();
  for (const { table_name: name, line } of await sql.query<Line>(text))
    result.set(name, [...(result.get(name) ?? []), line]);
  return result;
}

/** Migrates an embedded PostgreSQL of its own and writes docs/schema.sql. */
async function main(): Promise<void> {
  const dataDir = mkdtempSync(join(tmpdir(), 'wardbeat-schema-'));
  const log = createLog({ name: 'schema-dump', level: 'warn', toStderr: true });
  const server = createEmbeddedPostgres({ dataDir, log, clock: createSystemClock(), random: createSystemRandom() });
  try {
    const { ownerConnection, appConnection } = await server.start();
    await migrate({ owner: ownerConnection, appRole: appConnection.user });
    const pool = createPool({ connection: ownerConnection, poolSize: 1 });
    writeFileSync(SCHEMA_FILE, await dumpSchema(sqlOfClient(pool)));
    await pool.end();
  } finally {
    await server.stop();
    rmSync(dataDir, { recursive: true, force: true });
  }
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) await main();
