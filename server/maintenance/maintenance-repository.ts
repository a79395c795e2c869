import { labelTexts, type TargetedComputer } from '../../policies/maintenance-rules.js';
import { Scope } from '../access/scope.js';
import { containing, keysetOf, pageOf, type ListOrder, type Page, type PageRequest } from '../admin-api/page.js';
import type { Sql } from '../database/sql.js';
import type { MaintenanceOrder, MaintenanceSubject, WindowState } from './maintenance-window.js';

export const WINDOW_ORDER: ListOrder = {
  list: 'maintenance-windows',
  keys: { startsAt: { column: 'maintenance_windows.starts_at', type: 'timestamptz' } },
  default: '-startsAt',
  id: 'maintenance_windows.id',
};

const COLUMNS = `maintenance_windows.id, maintenance_windows.computer_id AS "computerId",
  maintenance_windows.policy_id AS "policyId", maintenance_windows.label,
  maintenance_windows.starts_at AS "startsAt", maintenance_windows.ends_at AS "endsAt", maintenance_windows.comment,
  maintenance_windows.created_at AS "createdAt", maintenance_windows.created_by AS "createdBy"`;

/** A window belongs to where its computer or policy is; one for a label alone belongs to the whole forest. */
const TABLES = 'maintenance_windows LEFT JOIN computers ON computers.id = maintenance_windows.computer_id';
const OWNING_POLICY = 'COALESCE(computers.policy_id, maintenance_windows.policy_id)';

export interface WindowFilters {
  readonly state: WindowState | undefined;
  /** Only windows that are for this computer. */
  readonly computer: TargetedComputer | undefined;
  readonly q: string | undefined;
  readonly now: number;
}

/** Windows that are not over at an instant, in id order. */
export function readWindowsFrom(sql: Sql, now: number): Promise<MaintenanceOrder[]> {
  return sql.query<MaintenanceOrder>(
    `SELECT ${COLUMNS} FROM maintenance_windows WHERE maintenance_windows.ends_at > $1 ORDER BY maintenance_windows.id`,
    [new Date(now)],
  );
}

/** Those for a label alone are shown where the scope holds a computer with it: they reach into every scope. */
export async function listWindows(
  sql: Sql,
  scope: Scope,
  { page, filters }: { readonly page: PageRequest; readonly filters: WindowFilters },
): Promise<Page<MaintenanceOrder>> {
  const parameters: unknown[] = [];
  const next = () => parameters.length + 1;
  const visible = scope.predicate(OWNING_POLICY, next());
  parameters.push(...visible.parameters);
  const conditions = [`(${visible.sql} OR ${reachesInto(scope, 1)})`];
  const add = (condition: (first: number) => string, ...values: readonly unknown[]) => {
    conditions.push(condition(next()));
    parameters.push(...values);
  };
  const { state, computer, q, now } = filters;
  if (state !== undefined) add(STATE_CONDITIONS[state], new Date(now));
  if (computer) add(isForComputer, computer.id, computer.lineage, labelTexts(computer.labels));
  if (q !== undefined)
    add((first) => String.raw`maintenance_windows.comment ILIKE $${first} ESCAPE '\'`, containing(q));
  const keyset = keysetOf(page, next());
  parameters.push(...keyset.parameters, page.limit + 1);
  const rows = await sql.query<MaintenanceOrder>(
    `SELECT ${COLUMNS} FROM ${TABLES} WHERE ${conditions.join(' AND ')} AND ${keyset.condition}
     ORDER BY ${keyset.orderBy} LIMIT $${parameters.length}`,
    parameters,
  );
  return pageOf(rows, page, ({ startsAt, id }) => [startsAt.toISOString(), id]);
}

const STATE_CONDITIONS: Readonly<Record<WindowState, (parameter: number) => string>> = {
  upcoming: (now) => `maintenance_windows.starts_at > $${now}`,
  active: (now) => `maintenance_windows.starts_at <= $${now} AND maintenance_windows.ends_at > $${now}`,
  over: (now) => `maintenance_windows.ends_at <= $${now}`,
};

const isForComputer = (first: number): string =>
  `(maintenance_windows.computer_id IS NULL OR maintenance_windows.computer_id = $${first}::uuid)
   AND (maintenance_windows.policy_id IS NULL OR maintenance_windows.policy_id = ANY($${first + 1}::uuid[]))
   AND (maintenance_windows.label IS NULL OR maintenance_windows.label = ANY($${first + 2}::text[]))`;

/** Whether a window for a label alone is for a computer of the scope; the parameters are those of the scope. */
function reachesInto(scope: Scope, first: number): string {
  const { sql } = scope.predicate('bearer.policy_id', first);
  return `(maintenance_windows.computer_id IS NULL AND maintenance_windows.policy_id IS NULL AND EXISTS (
    SELECT FROM computers AS bearer CROSS JOIN LATERAL jsonb_each_text(bearer.labels) AS borne (key, value)
    WHERE maintenance_windows.label IN (borne.key, borne.key || '=' || borne.value) AND ${sql}))`;
}

/** Takes the row's lock. Throws `beyond-scope` for a window that is seen but belongs to the whole forest. */
export async function lockWindow(sql: Sql, scope: Scope, id: string): Promise<MaintenanceOrder | undefined> {
  const visible = scope.predicate(OWNING_POLICY, 2);
  const [row] = await sql.query<MaintenanceOrder>(
    `SELECT ${COLUMNS} FROM ${TABLES}
     WHERE maintenance_windows.id = $1 AND (${visible.sql} OR ${reachesInto(scope, 2)})
     FOR UPDATE OF maintenance_windows`,
    [id, ...visible.parameters],
  );
  if (row && row.computerId === null && row.policyId === null)
    scope.assertAll('A window for a label alone belongs to the whole forest.');
  return row;
}

export async function insertWindow(sql: Sql, order: MaintenanceOrder): Promise<void> {
  await sql.query(
    `INSERT INTO maintenance_windows (id, computer_id, policy_id, label, starts_at, ends_at, comment, created_at, created_by)
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)`,
    [
      order.id,
      order.computerId,
      order.policyId,
      order.label,
      order.startsAt,
      order.endsAt,
      order.comment,
      order.createdAt,
      order.createdBy,
    ],
  );
}

export async function endWindow(sql: Sql, id: string, endsAt: Date): Promise<void> {
  await sql.query('UPDATE maintenance_windows SET ends_at = $2 WHERE id = $1', [id, endsAt]);
}

export async function removeWindow(sql: Sql, id: string): Promise<void> {
  await sql.query('DELETE FROM maintenance_windows WHERE id = $1', [id]);
}

const SELECT_SUBJECTS = `
SELECT computers.id AS computer_id, computers.name, computers.kind, computers.policy_id,
  computers.overrides::text AS overrides, computers.labels
FROM computers`;

export function readSubjects(sql: Sql, computerIds: readonly string[]): Promise<MaintenanceSubject[]> {
  return sql.query<MaintenanceSubject>(`${SELECT_SUBJECTS} WHERE computers.id = ANY($1::uuid[])`, [computerIds]);
}

/** A computer of the scope, as windows are aimed at it. */
export async function findComputer(sql: Sql, scope: Scope, id: string): Promise<MaintenanceSubject | undefined> {
  const visible = scope.predicate('computers.policy_id', 2);
  const [row] = await sql.query<MaintenanceSubject>(`${SELECT_SUBJECTS} WHERE computers.id = $1 AND ${visible.sql}`, [
    id,
    ...visible.parameters,
  ]);
  return row;
}
