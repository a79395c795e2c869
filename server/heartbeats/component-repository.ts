import type { Sql } from '../database/sql.js';
import type { ComponentState, StoredComponent } from './component-rules.js';

export interface ComponentRepository {
  read(sql: Sql, computerIds: readonly string[]): Promise<readonly StoredComponent[]>;
  store(sql: Sql, components: readonly StoredComponent[]): Promise<void>;
  remove(sql: Sql, components: readonly StoredComponent[]): Promise<void>;
}

interface Row {
  readonly computer_id: string;
  readonly kind: string;
  readonly name: string;
  readonly state: ComponentState;
  readonly since_fleet_ms: string | number;
  readonly detail: string | null;
}

const READ = `
SELECT computer_components.* FROM computer_components
WHERE computer_components.computer_id = ANY($1::uuid[])
ORDER BY computer_components.computer_id, computer_components.kind, computer_components.name`;

const STORE = `
INSERT INTO computer_components (computer_id, kind, name, state, since_fleet_ms, detail)
SELECT input.computer_id, input.kind, input.name, input.state, input.since_fleet_ms, input.detail
FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::bigint[], $6::text[])
  AS input (computer_id, kind, name, state, since_fleet_ms, detail)
ORDER BY input.computer_id, input.kind, input.name
ON CONFLICT (computer_id, kind, name) DO UPDATE SET
  state = EXCLUDED.state, since_fleet_ms = EXCLUDED.since_fleet_ms, detail = EXCLUDED.detail`;

const REMOVE = `
DELETE FROM computer_components USING unnest($1::uuid[], $2::text[], $3::text[]) AS input (computer_id, kind, name)
WHERE computer_components.computer_id = input.computer_id AND computer_components.kind = input.kind
  AND computer_components.name = input.name`;

export function createComponentRepository(): ComponentRepository {
  return {
    async read(sql, computerIds) {
      const rows = await sql.query<Row>(READ, [computerIds]);
      return rows.map((row) => ({
        computerId: row.computer_id,
        kind: row.kind,
        name: row.name,
        state: row.state,
        since: Number(row.since_fleet_ms),
        detail: row.detail,
      }));
    },
    async store(sql, components) {
      if (components.length === 0) return;
      await sql.query(STORE, [
        ...keysOf(components),
        components.map(({ state }) => state),
        components.map(({ since }) => Math.floor(since)),
        components.map(({ detail }) => detail),
      ]);
    },
    async remove(sql, components) {
      if (components.length > 0) await sql.query(REMOVE, keysOf(components));
    },
  };
}

function keysOf(components: readonly StoredComponent[]): unknown[] {
  return [
    components.map(({ computerId }) => computerId),
    components.map(({ kind }) => kind),
    components.map(({ name }) => name),
  ];
}
