import type { Sql } from '../database/sql.js';
import type { PolicyLocks } from '../../policies/resolve-settings.js';
import type { SettingOverrides } from '../../policies/setting-values.js';
import type { Policy } from './policy.js';
import type { ForestGeneration } from './settings-cache.js';

/** The channel on which every edit of the forest tells its generation, `<epoch>:<counter>`. */
export const FOREST_CHANNEL = 'wardbeat_policy_forest';

interface GenerationRow {
  readonly epoch: string;
  readonly counter: number;
}

interface ForestRow extends GenerationRow {
  readonly id: string | null;
  readonly parent_id: string | null;
  readonly name: string;
  readonly description: string;
  readonly settings: SettingOverrides;
  readonly locks: PolicyLocks;
  readonly built_in: boolean;
  readonly revision: number;
  readonly created_at: Date;
  readonly updated_at: Date;
  readonly verdict_rules_fleet_ms: number;
}

export interface Forest {
  readonly generation: ForestGeneration;
  readonly policies: ReadonlyMap<string, Policy>;
}

/** The generation that is committed, without a lock; undefined before there is a forest. */
export async function readForestGeneration(sql: Sql): Promise<ForestGeneration | undefined> {
  const [row] = await sql.query<GenerationRow>('SELECT epoch, counter FROM policy_forest WHERE id = 1');
  return row && toGeneration(row);
}

/**
 * The one row that serialises every edit of the forest (policies, locks, moves, overrides): take it first, before any
 * row of a computer, and advance it last.
 */
export async function lockForest(sql: Sql): Promise<ForestGeneration> {
  const [row] = await sql.query<GenerationRow>(
    'SELECT policy_forest.epoch, policy_forest.counter FROM policy_forest WHERE policy_forest.id = 1 FOR UPDATE',
  );
  return toGeneration(row);
}

/** The next generation, told to every node when the transaction commits. The caller holds the row. */
export async function advanceForest(sql: Sql): Promise<ForestGeneration> {
  const [row] = await sql.query<GenerationRow>(
    'UPDATE policy_forest SET counter = counter + 1 WHERE id = 1 RETURNING epoch, counter',
  );
  const generation = toGeneration(row);
  await sql.query('SELECT pg_notify($1, $2)', [FOREST_CHANNEL, formatGeneration(generation)]);
  return generation;
}

export async function readGeneration(sql: Sql): Promise<ForestGeneration> {
  const [row] = await sql.query<GenerationRow>(
    'SELECT policy_forest.epoch, policy_forest.counter FROM policy_forest WHERE policy_forest.id = 1',
  );
  return toGeneration(row);
}

/** Generation and policies by one statement, so that they are of one snapshot. */
export async function readForest(sql: Sql): Promise<Forest> {
  const rows = await sql.query<ForestRow>(
    `SELECT policy_forest.epoch, policy_forest.counter, policies.*
     FROM policy_forest LEFT JOIN policies ON TRUE
     WHERE policy_forest.id = 1 ORDER BY policies.id`,
  );
  const policies = rows.flatMap((row) => (row.id === null ? [] : [toPolicy(row, row.id)]));
  return { generation: toGeneration(rows[0]), policies: new Map(policies.map((policy) => [policy.id, policy])) };
}

/** Makes the row at the first start; after a restore the forest goes on counting in the new epoch. */
export async function ensureForest(sql: Sql, restoreEpoch: string): Promise<void> {
  await sql.query(
    `INSERT INTO policy_forest (id, epoch, counter) VALUES (1, $1, 0)
     ON CONFLICT (id) DO UPDATE SET epoch = EXCLUDED.epoch WHERE policy_forest.epoch <> EXCLUDED.epoch`,
    [restoreEpoch],
  );
}

export function formatGeneration({ epoch, counter }: ForestGeneration): string {
  return `${epoch}:${counter}`;
}

/** What a notification told; undefined for anything else than a generation. */
export function parseGeneration(text: string | undefined): ForestGeneration | undefined {
  const [, epoch, counter] = /^([0-9a-f-]{36}):([0-9]{1,15})$/.exec(text ?? '') ?? [];
  return epoch && counter ? { epoch, counter: Number(counter) } : undefined;
}

function toGeneration(row: GenerationRow | undefined): ForestGeneration {
  if (!row) throw new Error('The policy forest has no row: ensureBasePolicy makes it at the first start');
  return { epoch: row.epoch, counter: row.counter };
}

function toPolicy(row: ForestRow, id: string): Policy {
  return {
    id,
    parentId: row.parent_id,
    name: row.name,
    description: row.description,
    settings: row.settings,
    locks: row.locks,
    builtIn: row.built_in,
    revision: row.revision,
    createdAt: row.created_at,
    updatedAt: row.updated_at,
    rulesSince: row.verdict_rules_fleet_ms,
  };
}
