import type { QueryRunner } from 'typeorm';

/** Inserted into and read, never changed: what the application role has done stays visible (design.md §10). */
const APPEND_ONLY: readonly string[] = ['audit_log', 'audit_seals'];
/** Columns that the database fills: the application role has the right to insert into each other one alone. */
const FILLED_BY_DATABASE: Readonly<Record<string, readonly string[]>> = { audit_log: ['transaction_id'] };
/** The owner's own. */
const HIDDEN: readonly string[] = ['migrations', 'migration_lock', 'typeorm_metadata'];

const FUNCTIONS: readonly string[] = [
  'wardbeat_ensure_partitions(text, timestamptz, integer)',
  'wardbeat_drop_partitions(text, timestamptz)',
];

/** Tables but for partitions, which are reached through their parents, with what the role may do now. */
const TABLES = `
SELECT c.relname AS name, COALESCE(held.privileges, '') AS privileges
FROM pg_class c
LEFT JOIN LATERAL (
  SELECT string_agg(DISTINCT a.privilege_type, ',' ORDER BY a.privilege_type) AS privileges
  FROM aclexplode(c.relacl) a WHERE a.grantee = to_regrole($1)::oid
) held ON true
WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition
ORDER BY c.relname`;

/** The order of conditions is the planner's to choose, so the privilege is asked of sequences only, by CASE. */
const SEQUENCES = `
SELECT c.relname AS name FROM pg_class c
WHERE c.relnamespace = 'public'::regnamespace AND c.relname <> 'migrations_id_seq'
  AND CASE WHEN c.relkind = 'S' THEN NOT has_sequence_privilege($1, c.oid, 'USAGE') ELSE false END
ORDER BY c.relname`;

interface TableRow {
  readonly name: string;
  readonly privileges: string;
}

function privilegesOn(table: string): string {
  if (HIDDEN.includes(table)) return '';
  if (Object.hasOwn(FILLED_BY_DATABASE, table)) return 'SELECT';
  return APPEND_ONLY.includes(table) ? 'INSERT,SELECT' : 'DELETE,INSERT,SELECT,UPDATE';
}

/** Brings the application role's rights to what they should be; changes only what differs. */
export async function grantToApplication(runner: QueryRunner, role: string): Promise<void> {
  const quoted = quoteIdentifier(role);
  await runner.query(`GRANT USAGE ON SCHEMA public TO ${quoted}`);
  const tables = (await runner.query(TABLES, [quoted])) as TableRow[];
  for (const { name, privileges } of tables) {
    const wanted = privilegesOn(name);
    if (wanted === privileges) continue;
    await runner.query(`REVOKE ALL ON TABLE public.${quoteIdentifier(name)} FROM ${quoted}`);
    if (wanted) await runner.query(`GRANT ${wanted} ON TABLE public.${quoteIdentifier(name)} TO ${quoted}`);
  }
  for (const [table, filled] of Object.entries(FILLED_BY_DATABASE))
    await grantInsertion(runner, { table, filled, quoted });
  const sequences = (await runner.query(SEQUENCES, [role])) as { name: string }[];
  for (const { name } of sequences)
    await runner.query(`GRANT USAGE ON SEQUENCE public.${quoteIdentifier(name)} TO ${quoted}`);
  for (const name of FUNCTIONS) await runner.query(`GRANT EXECUTE ON FUNCTION public.${name} TO ${quoted}`);
}

const COLUMNS = `
SELECT a.attname AS name, EXISTS (
  SELECT FROM aclexplode(a.attacl) g WHERE g.grantee = to_regrole($1)::oid AND g.privilege_type = 'INSERT'
) AS granted
FROM pg_attribute a
WHERE a.attrelid = to_regclass('public.' || quote_ident($2)) AND a.attnum > 0 AND NOT a.attisdropped
ORDER BY a.attnum`;

interface Insertion {
  readonly table: string;
  readonly filled: readonly string[];
  /** The role. */
  readonly quoted: string;
}

async function grantInsertion(runner: QueryRunner, { table, filled, quoted }: Insertion): Promise<void> {
  const columns = (await runner.query(COLUMNS, [quoted, table])) as { name: string; granted: boolean }[];
  const isWanted = (name: string): boolean => !filled.includes(name);
  if (columns.every(({ name, granted }) => granted === isWanted(name))) return;
  const list = (names: readonly { name: string }[]): string =>
    names.map(({ name }) => quoteIdentifier(name)).join(', ');
  const name = quoteIdentifier(table);
  await runner.query(`REVOKE INSERT (${list(columns)}) ON TABLE public.${name} FROM ${quoted}`);
  const wanted = columns.filter((column) => isWanted(column.name));
  await runner.query(`GRANT INSERT (${list(wanted)}) ON TABLE public.${name} TO ${quoted}`);
}

/** What a role could do to the audit tables by whatever way: own grants, membership, PUBLIC, superuser. */
const PROTECTION = `
SELECT NOT pg_has_role($1, c.relowner, 'MEMBER') AND NOT has_table_privilege($1, c.oid, 'UPDATE, DELETE, TRUNCATE')
  AND NOT has_any_column_privilege($1, c.oid, 'UPDATE') AS protected
FROM pg_class c
WHERE c.relnamespace = 'public'::regnamespace AND c.relname = ANY ($2)`;

/** True when the role can neither change nor delete what is in the audit tables. */
export async function isAuditProtected(runner: QueryRunner, role: string): Promise<boolean> {
  const rows = (await runner.query(PROTECTION, [role, APPEND_ONLY])) as { protected: boolean }[];
  return rows.length === APPEND_ONLY.length && rows.every((row) => row.protected);
}

function quoteIdentifier(name: string): string {
  return `"${name.replaceAll('"', '""')}"`;
}
