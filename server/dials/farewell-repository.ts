import type { HotTransaction } from '../database/hot-transaction.js';
import type { Sql } from '../database/sql.js';
import type { FleetInstant } from '../fleet-clock/fleet-clock.js';
import { ATTEMPT_MS, type FarewellFacts } from './farewell-rules.js';

/** An agent that has to be told that its computer is no more, and where it was reached before. */
export interface Farewell extends FarewellFacts {
  readonly computerId: string;
  readonly address: string | null;
  readonly observedAddress: string | null;
  readonly port: number;
}

/** In force, or waiting for its proof: only the manager dials. Any other agent finds out when it dials. */
const ORDER = `
INSERT INTO farewells AS known (computer_id, address, observed_address, port, ordered_fleet_ms, due_fleet_ms)
SELECT computers.id, computers.address, computer_facts.observed_address,
  COALESCE(CASE WHEN computer_contacts.direction IS DISTINCT FROM 'managerInitiated' THEN computer_contacts.candidate_port
    WHEN computer_contacts.listener_state = 'listening' THEN computer_contacts.listener_port END, $2), $3, $3
FROM computers
JOIN computer_contacts ON computer_contacts.computer_id = computers.id
LEFT JOIN computer_facts ON computer_facts.computer_id = computers.id
WHERE computers.id = $1 AND (computers.address IS NOT NULL OR computer_facts.observed_address IS NOT NULL)
  AND (computer_contacts.direction = 'managerInitiated'
    OR (computer_contacts.candidate_direction = 'managerInitiated' AND computer_contacts.candidate_state = 'proving'))
ON CONFLICT (computer_id) DO UPDATE SET address = EXCLUDED.address, observed_address = EXCLUDED.observed_address,
  port = EXCLUDED.port, ordered_fleet_ms = EXCLUDED.ordered_fleet_ms, due_fleet_ms = EXCLUDED.due_fleet_ms, attempts = 0`;

export interface FarewellOrder {
  readonly computerId: string;
  /** Where the agent listens unless it said otherwise. */
  readonly settingPort: number;
  readonly at: FleetInstant;
}

/** Orders one in the transaction that removes or revokes the computer, before its rows go; for agents that never dial. */
export async function orderFarewell(sql: Sql, { computerId, settingPort, at }: FarewellOrder): Promise<void> {
  await sql.query(ORDER, [computerId, settingPort, at]);
}

const CLAIM = `
WITH due AS (
  SELECT farewells.computer_id FROM farewells WHERE farewells.due_fleet_ms <= $1
  ORDER BY farewells.due_fleet_ms LIMIT $3 FOR UPDATE SKIP LOCKED)
UPDATE farewells SET due_fleet_ms = $2, attempts = farewells.attempts + 1
FROM due WHERE due.computer_id = farewells.computer_id
RETURNING farewells.*`;

interface FarewellRow {
  readonly computer_id: string;
  readonly address: string | null;
  readonly observed_address: string | null;
  readonly port: number;
  readonly ordered_fleet_ms: FleetInstant;
  readonly attempts: number;
}

export interface FarewellRepository {
  /** Takes some that are due: nobody else does while an attempt may last. */
  claim(at: FleetInstant, limit: number): Promise<readonly Farewell[]>;
  putOff(farewell: Farewell, until: { readonly dueAt: FleetInstant; readonly isCounted: boolean }): Promise<void>;
  end(farewell: Farewell): Promise<void>;
}

/** What was ordered anew meanwhile is left as it is. */
export function createFarewellRepository(deps: {
  readonly sql: Sql;
  readonly inTransaction: HotTransaction;
}): FarewellRepository {
  const { sql: reader, inTransaction } = deps;
  const write = (text: string, values: unknown[]): Promise<FarewellRow[]> =>
    inTransaction((sql) => sql.query<FarewellRow>(text, values), { idempotent: false });
  return {
    async claim(at, limit) {
      const due = await reader.query('SELECT 1 FROM farewells WHERE farewells.due_fleet_ms <= $1 LIMIT 1', [at]);
      return due.length === 0 ? [] : (await write(CLAIM, [at, at + ATTEMPT_MS, limit])).map(toFarewell);
    },
    async putOff({ computerId, orderedAt }, { dueAt, isCounted }) {
      await write(
        `UPDATE farewells SET due_fleet_ms = $3, attempts = attempts - $4
         WHERE computer_id = $1 AND ordered_fleet_ms = $2`,
        [computerId, orderedAt, Math.ceil(dueAt), isCounted ? 0 : 1],
      );
    },
    async end({ computerId, orderedAt }) {
      await write('DELETE FROM farewells WHERE computer_id = $1 AND ordered_fleet_ms = $2', [computerId, orderedAt]);
    },
  };
}

function toFarewell(row: FarewellRow): Farewell {
  return {
    computerId: row.computer_id,
    address: row.address,
    observedAddress: row.observed_address,
    port: row.port,
    orderedAt: Number(row.ordered_fleet_ms),
    attempts: row.attempts,
  };
}
