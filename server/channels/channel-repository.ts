import type { Sql } from '../database/sql.js';
import type { FleetInstant } from '../fleet-clock/fleet-clock.js';
import type { ChangedPolicies } from '../policies/policy-watch.js';

/** One life of a listening process. */
export interface HolderKey {
  readonly listener: string;
  readonly generation: number;
}

export interface ChannelChange {
  readonly computerId: string;
  readonly state: 'open' | 'closed';
  readonly at: FleetInstant;
  readonly reason: string | null;
}

/** What is looked at of a computer that holds a channel. */
export interface HeldRow {
  readonly computer_id: string;
  readonly kind: 'agent' | 'appliance';
  readonly policy_id: string;
  readonly overrides: string | null;
  readonly is_revoked: boolean;
  readonly applied: string | null;
  readonly delivered: string | null;
  readonly candidate: string | null;
}

/** An opening counts always; an end only of the connection that this life holds. */
const STORE = `
INSERT INTO channels AS held (computer_id, listener, generation, state, since_fleet_ms, reason)
SELECT computers.id, $1, $2, input.state, input.at, input.reason
FROM unnest($3::uuid[], $4::text[], $5::bigint[], $6::text[]) AS input (computer_id, state, at, reason)
JOIN computers ON computers.id = input.computer_id
ORDER BY computers.id
ON CONFLICT (computer_id) DO UPDATE SET listener = excluded.listener, generation = excluded.generation,
  state = excluded.state, since_fleet_ms = excluded.since_fleet_ms, reason = excluded.reason
WHERE excluded.state = 'open' OR (held.listener = excluded.listener AND held.generation = excluded.generation)`;

/** Stores changes, one of each computer; those of removed computers vanish. */
export async function storeChannels(sql: Sql, key: HolderKey, changes: readonly ChannelChange[]): Promise<void> {
  if (changes.length === 0) return;
  await sql.query(STORE, [
    key.listener,
    key.generation,
    changes.map(({ computerId }) => computerId),
    changes.map(({ state }) => state),
    changes.map(({ at }) => Math.floor(at)),
    changes.map(({ reason }) => reason),
  ]);
}

/** The present life of a listening process, after it has registered. */
export async function readGeneration(sql: Sql, listener: string): Promise<number> {
  const [row] = await sql.query<{ generation: number }>('SELECT generation FROM listeners WHERE node = $1', [listener]);
  if (!row) throw new Error('The listener is not registered');
  return row.generation;
}

const CLOSE_FORMER = `
UPDATE channels SET state = 'closed', since_fleet_ms = $3, reason = 'manager-gone'
WHERE computer_id IN (
  SELECT channels.computer_id FROM channels
  WHERE channels.listener = $1 AND channels.generation < $2 AND channels.state = 'open'
  ORDER BY channels.computer_id FOR UPDATE)`;

/** Ends what lives before this one left open. */
export async function closeFormer(sql: Sql, { listener, generation }: HolderKey, at: FleetInstant): Promise<void> {
  await sql.query(CLOSE_FORMER, [listener, generation, Math.floor(at)]);
}

const READ_HELD = `
SELECT computers.id AS computer_id, computers.kind, computers.policy_id, computers.overrides::text AS overrides,
  (computer_status.status = 'revoked' OR certificates.revoked_at IS NOT NULL) AS is_revoked,
  encode(computer_live.applied_fingerprint, 'hex') AS applied,
  encode(computer_live.delivered_fingerprint, 'hex') AS delivered,
  encode(computer_contacts.candidate_fingerprint, 'hex') AS candidate
FROM unnest($1::uuid[], $2::text[]) AS input (computer_id, serial)
JOIN computers ON computers.id = input.computer_id
JOIN computer_live ON computer_live.computer_id = computers.id
JOIN computer_status ON computer_status.computer_id = computers.id
LEFT JOIN certificates ON certificates.serial = input.serial
LEFT JOIN computer_contacts ON computer_contacts.computer_id = computers.id
ORDER BY computers.id`;

export interface HeldKey {
  readonly computerId: string;
  /** Of the certificate that the channel was opened with. */
  readonly serial: string;
}

/** Whoever is missing in the answer was removed. */
export async function readHeld(sql: Sql, held: readonly HeldKey[]): Promise<HeldRow[]> {
  return sql.query<HeldRow>(READ_HELD, [held.map(({ computerId }) => computerId), held.map(({ serial }) => serial)]);
}

const FIND_OUTDATED = `
SELECT computers.id FROM unnest($3::uuid[], $4::text[]) AS changed (policy_id, fingerprint)
JOIN computers ON computers.policy_id = changed.policy_id
JOIN channels ON channels.computer_id = computers.id
JOIN computer_live ON computer_live.computer_id = computers.id
WHERE channels.listener = $1 AND channels.generation = $2 AND channels.state = 'open'
  AND (computers.overrides IS NOT NULL OR computers.kind <> 'agent'
    OR computer_live.applied_fingerprint IS DISTINCT FROM decode(changed.fingerprint, 'hex'))
ORDER BY computers.id`;

/** Computers that hold a channel here and may not have the settings of these policies; overrides are not looked into. */
export async function findOutdatedHeld(sql: Sql, key: HolderKey, changed: ChangedPolicies): Promise<string[]> {
  const rows = await sql.query<{ id: string }>(FIND_OUTDATED, [
    key.listener,
    key.generation,
    changed.ids,
    changed.fingerprints,
  ]);
  return rows.map(({ id }) => id);
}

const FIND_ELSEWHERE = `
SELECT channels.computer_id AS id FROM channels
WHERE channels.computer_id = ANY($1::uuid[]) AND channels.state = 'open' AND channels.listener <> $2
ORDER BY channels.computer_id`;

/** Which of these hold their channel with another process. */
export async function findHeldElsewhere(sql: Sql, ids: readonly string[], listener: string): Promise<string[]> {
  const rows = await sql.query<{ id: string }>(FIND_ELSEWHERE, [ids, listener]);
  return rows.map(({ id }) => id);
}
