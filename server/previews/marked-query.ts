import type { DialFacts } from '../../policies/dial-rules.js';
import type { GoodbyeReason, PowerState } from '../../policies/status-model.js';
import type { Sql } from '../database/sql.js';
import { IS_SUBJECT, subjectColumns, SUBJECTS, type FleetPart, type RuledSubject } from './preview-query.js';

const MARKED_CHUNK = 10_000;
const NO_INSTANT = -1;
const GOODBYES: readonly GoodbyeReason[] = ['shutdown', 'restart', 'update', 'uninstall', 'suspended'];
const POWERS: readonly PowerState[] = ['running', 'stopped', 'unknown'];

/**
 * A power state or goodbye that counts and moves a deadline, or dials that misses need: only `judge` knows what it means.
 * The goodbye of a shutdown or suspension gives a silence its reason and leaves its deadlines as they are.
 */
const IS_MARKED = `(computer_status.goodbye_reason IN ('restart', 'update', 'uninstall')
    AND computer_status.goodbye_fleet_ms >= computer_live.last_seen_fleet_ms
  OR computers.power_since_fleet_ms IS NOT NULL
    AND computers.power_since_fleet_ms >= computer_live.last_seen_fleet_ms
  OR computer_contacts.direction = 'managerInitiated')`;

/** The failed dials of a computer: how many, and each one's begin and end; -1 where dials do not count. */
const DIALS = `CASE WHEN computer_contacts.direction = 'managerInitiated'
  THEN int4send(COALESCE(cardinality(computer_dials.failed_begun_fleet_ms), 0)) || COALESCE(
    (SELECT string_agg(int8send(dial.begun) || int8send(dial.ended), ''::bytea)
     FROM unnest(computer_dials.failed_begun_fleet_ms, computer_dials.failed_ended_fleet_ms) AS dial (begun, ended)),
    ''::bytea)
  ELSE int4send(-1) END`;

/**
 * Those that a goodbye or a power state was ever told of are few, and indexed; which of them count is seen then. Dials
 * only put a miss off, so of those that the manager dials only the silent ones matter.
 */
const PACK_MARKED = `
WITH ${SUBJECTS}, marked AS MATERIALIZED (
  (SELECT computer_status.computer_id AS id FROM computer_status
   WHERE computer_status.goodbye_reason IN ('restart', 'update', 'uninstall') AND computer_status.computer_id > $5 AND computer_status.computer_id <= $9
   ORDER BY computer_status.computer_id LIMIT $8)
  UNION
  (SELECT computers.id FROM computers
   WHERE computers.power_since_fleet_ms IS NOT NULL AND computers.id > $5 AND computers.id <= $9
   ORDER BY computers.id LIMIT $8)
  UNION
  (SELECT computer_contacts.computer_id FROM computer_contacts
     JOIN computer_live ON computer_live.computer_id = computer_contacts.computer_id
   WHERE computer_contacts.direction = 'managerInitiated' AND computer_live.last_seen_fleet_ms <= $10
     AND computer_contacts.computer_id > $5 AND computer_contacts.computer_id <= $9
   ORDER BY computer_contacts.computer_id LIMIT $8)
  ORDER BY id LIMIT $8
), packed AS (
  SELECT computers.id, uuid_send(computers.id) || int4send(subject.rule)
    || int4send(GREATEST(computer_live.confirmed_interval_ms, computer_live.delivered_interval_ms, 0))
    || int8send(computer_live.last_seen_fleet_ms)
    || int8send(COALESCE(computer_live.contact_due_fleet_ms, ${NO_INSTANT}))
    || int4send(COALESCE(array_position($6::text[], computer_status.goodbye_reason), 0))
    || int8send(COALESCE(computer_status.goodbye_fleet_ms, ${NO_INSTANT}))
    || int8send(COALESCE(computer_status.goodbye_expected_ms, ${NO_INSTANT}))
    || int4send(array_position($7::text[], computers.power_state))
    || int8send(COALESCE(computers.power_since_fleet_ms, ${NO_INSTANT}))
    || int8send(COALESCE(computers.power_expires_fleet_ms, ${NO_INSTANT}))
    || ${DIALS} AS record
  FROM marked JOIN computers USING (id)
    JOIN computer_live ON computer_live.computer_id = computers.id
    JOIN computer_status ON computer_status.computer_id = computers.id
    LEFT JOIN computer_contacts ON computer_contacts.computer_id = computers.id
    LEFT JOIN computer_dials ON computer_dials.computer_id = computers.id
    JOIN subject ON ${IS_SUBJECT}
  WHERE computer_live.last_seen_fleet_ms IS NOT NULL AND computer_status.status <> 'revoked' AND ${IS_MARKED}
)
SELECT (SELECT count(*) FROM marked) AS looked_at,
  (SELECT marked.id::text FROM marked ORDER BY marked.id DESC LIMIT 1) AS last,
  (SELECT string_agg(packed.record, ''::bytea ORDER BY packed.id) FROM packed) AS records`;

interface MarkedRow {
  readonly looked_at: number;
  readonly last: string | null;
  readonly records: Buffer | null;
}

export interface MarkedQuestion {
  readonly subjects: readonly RuledSubject[];
  readonly part: FleetPart;
  /** Computers that were heard later are not silent by any limit. */
  readonly latest: number;
  readonly chunk?: number;
}

/** The subjects' computers that must be judged one by one, packed and in id order, chunk by chunk. */
export async function* packMarked(
  sql: Sql,
  { subjects, part, latest, chunk = MARKED_CHUNK }: MarkedQuestion,
): AsyncGenerator<Buffer> {
  let after: string | null = part.after;
  while (after !== null) {
    const parameters: unknown[] = [...subjectColumns(subjects), after, GOODBYES, POWERS, chunk, part.last, latest];
    const [row]: MarkedRow[] = await sql.query<MarkedRow>(PACK_MARKED, parameters);
    if (row?.records) yield row.records;
    after = row && row.looked_at >= chunk ? row.last : null;
  }
}

/** How many computers there are, in the whole fleet, that `packMarked` has to look at. */
export async function countCandidates(sql: Sql): Promise<number> {
  const [row] = await sql.query<{ count: number }>(
    `SELECT (SELECT count(*) FROM computer_status
       WHERE computer_status.goodbye_reason IN ('restart', 'update', 'uninstall'))
     + (SELECT count(*) FROM computers WHERE computers.power_since_fleet_ms IS NOT NULL)
     + (SELECT count(*) FROM computer_contacts WHERE computer_contacts.direction = 'managerInitiated') AS count`,
  );
  return row?.count ?? 0;
}

export interface MarkedComputer {
  readonly rule: number;
  readonly intervalInForceMs: number;
  readonly lastSeenAt: number;
  readonly contactDueAt: number | null;
  readonly goodbye: {
    readonly reason: GoodbyeReason;
    readonly receivedAt: number;
    readonly expectedBackMs: number | null;
  } | null;
  readonly power: { readonly state: PowerState; readonly since: number; readonly expiresAt: number | null };
  readonly dials: DialFacts | null;
}

/** Before the dials. */
const FIXED_BYTES = 80;
const DIAL_BYTES = 16;

export interface PackedComputer extends MarkedComputer {
  id(): string;
}

/** The computers of a chunk, in the order in which they were packed. */
export function* unpackMarked(packed: Buffer): Generator<PackedComputer> {
  for (let at = 0; at < packed.length;) {
    const start = at;
    const dials = readDials(packed, at + FIXED_BYTES);
    at += FIXED_BYTES + 4 + (dials?.failed.length ?? 0) * DIAL_BYTES;
    yield { ...readFixed(packed, start), dials, id: () => uuidAt(packed, start) };
  }
}

function uuidAt(packed: Buffer, at: number): string {
  const hex = packed.toString('hex', at, at + 16);
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5');
}

function readDials(packed: Buffer, at: number): DialFacts | null {
  const count = packed.readInt32BE(at);
  if (count < 0) return null;
  const failed = Array.from({ length: count }, (_, index) => {
    const dial = at + 4 + index * DIAL_BYTES;
    return { begunAt: Number(packed.readBigInt64BE(dial)), endedAt: Number(packed.readBigInt64BE(dial + 8)) };
  });
  return { failed, reason: null };
}

function readFixed(packed: Buffer, at: number): Omit<MarkedComputer, 'dials'> {
  const instant = (offset: number): number | null => {
    const value = Number(packed.readBigInt64BE(at + offset));
    return value === NO_INSTANT ? null : value;
  };
  const reason = GOODBYES[packed.readInt32BE(at + 40) - 1];
  const receivedAt = instant(44);
  return {
    rule: packed.readInt32BE(at + 16),
    intervalInForceMs: packed.readInt32BE(at + 20),
    lastSeenAt: instant(24) ?? NO_INSTANT,
    contactDueAt: instant(32),
    goodbye: reason !== undefined && receivedAt !== null ? { reason, receivedAt, expectedBackMs: instant(52) } : null,
    power: {
      state: POWERS[packed.readInt32BE(at + 60) - 1] ?? 'unknown',
      since: instant(64) ?? Number.NEGATIVE_INFINITY,
      expiresAt: instant(72),
    },
  };
}
