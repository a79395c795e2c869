import { ALERT_TYPES, type AlertType } from '../../policies/status-model.js';
import type { Random } from '../../lib/random.js';
import type { Sql } from '../database/sql.js';
import type { FleetInstant } from '../fleet-clock/fleet-clock.js';
import type { AlertCondition, AlertEnd, AlertWriter } from './alert.js';

/** Who closed an alert that resolved itself. */
export const CLOSED_BY_MANAGER = 'manager';

/** Of an alert that was open already only the count moves: it has an id of its own, and nobody is told of that. */
const RAISE = `
WITH raised AS (
INSERT INTO alerts (id, type, severity, state, subject, computer_id, raised_fleet_ms, reason, detail, occurrences)
SELECT begun.id, begun.type, begun.severity, 'raised', begun.subject, begun.computer_id, begun.raised, begun.reason,
       begun.detail::jsonb, begun.occurrences
FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::uuid[], $6::bigint[], $7::text[], $8::text[], $9::int[],
  $10::text[]) AS begun (id, type, severity, subject, computer_id, raised, reason, detail, occurrences, unless_open)
WHERE NOT EXISTS (SELECT 1 FROM alerts AS other WHERE other.type = begun.unless_open
  AND other.subject = begun.subject AND other.state IN ('raised', 'acknowledged'))
ORDER BY begun.type, begun.subject
ON CONFLICT (type, subject) WHERE state IN ('raised', 'acknowledged')
DO UPDATE SET occurrences = alerts.occurrences + excluded.occurrences,
  detail = CASE WHEN excluded.detail ? 'latest'
    THEN alerts.detail || jsonb_build_object('latest', excluded.detail -> 'latest') ELSE alerts.detail END
RETURNING alerts.id, alerts.raised_fleet_ms)
INSERT INTO alert_outbox (id, alert_id, change, at_fleet_ms)
SELECT entry.id, raised.id, 'raised', raised.raised_fleet_ms
FROM raised JOIN unnest($1::uuid[], $11::uuid[]) AS entry (alert_id, id) ON entry.alert_id = raised.id`;

const LOCK_SUBJECTS = `
SELECT alerts.id FROM alerts
WHERE alerts.type = $1 AND alerts.subject = ANY($2::text[]) AND alerts.state IN ('raised', 'acknowledged')
  AND NOT EXISTS (SELECT 1 FROM unnest($2::text[], $3::text[]) AS kept (subject, detail)
    WHERE kept.subject = alerts.subject AND alerts.detail @> kept.detail::jsonb)
ORDER BY alerts.id FOR NO KEY UPDATE`;

const TURN = `
UPDATE alerts SET type = begun.type, severity = begun.severity, reason = begun.reason, detail = begun.detail::jsonb
FROM unnest($2::text[], $3::text[], $4::text[], $5::text[], $6::text[]) AS begun (subject, type, severity, reason, detail)
WHERE alerts.id = ANY($1::uuid[]) AND alerts.subject = begun.subject
  AND NOT EXISTS (SELECT 1 FROM alerts AS other WHERE other.type = begun.type AND other.subject = begun.subject
    AND other.state IN ('raised', 'acknowledged') AND other.id <> alerts.id)
RETURNING alerts.subject`;

const LOCK_COMPUTERS = `
SELECT alerts.id FROM alerts
WHERE alerts.computer_id = ANY($1::uuid[]) AND alerts.state IN ('raised', 'acknowledged')
ORDER BY alerts.id FOR NO KEY UPDATE`;

/** Locks more than the open ones, so it comes before what locks those. */
const KEEP_NAME = `
WITH kept AS (SELECT alerts.id FROM alerts WHERE alerts.computer_id = $1 ORDER BY alerts.id FOR NO KEY UPDATE)
UPDATE alerts SET computer_name = $2 FROM kept WHERE alerts.id = kept.id`;

const resolveBy = (column: 'subject' | 'computer_id', type: 'text' | 'uuid') => `
WITH resolved AS (
UPDATE alerts SET state = 'resolved', closed_by = '${CLOSED_BY_MANAGER}',
  closed_fleet_ms = GREATEST(ended.at, alerts.raised_fleet_ms)
FROM unnest($2::${type}[], $3::bigint[]) AS ended (${column}, at)
WHERE alerts.id = ANY($1::uuid[]) AND alerts.${column} = ended.${column}
RETURNING alerts.id, alerts.closed_fleet_ms)
INSERT INTO alert_outbox (id, alert_id, change, at_fleet_ms)
SELECT entry.id, resolved.id, 'resolved', resolved.closed_fleet_ms
FROM resolved JOIN unnest($1::uuid[], $4::uuid[]) AS entry (alert_id, id) ON entry.alert_id = resolved.id`;

const RESOLVE_SUBJECTS = resolveBy('subject', 'text');
const RESOLVE_COMPUTERS = resolveBy('computer_id', 'uuid');

/** A constant number of statements for any number of conditions; each tells the outbox of what it changes itself. */
export function createAlertWriter({ random }: { readonly random: Random }): AlertWriter {
  const fresh = (rows: readonly unknown[]): string[] => rows.map(() => random.uuid());
  return {
    async raise(sql, conditions) {
      if (conditions.length > 0) await sql.query(RAISE, raiseParameters(conditions, random));
    },
    async turn(sql, type, conditions) {
      if (conditions.length === 0) return new Set();
      const open = await lockSubjects(sql, type, conditions);
      if (open.length === 0) return new Set();
      const turned = await sql.query<{ subject: string }>(TURN, [idsOf(open), ...turnParameters(conditions)]);
      return new Set(turned.map(({ subject }) => subject));
    },
    async resolve(sql, type, ended) {
      if (ended.length === 0) return;
      const subjects = ended.map(({ subject }) => subject);
      const open = await lockSubjects(sql, type, ended);
      if (open.length > 0) await sql.query(RESOLVE_SUBJECTS, [idsOf(open), subjects, instantsOf(ended), fresh(open)]);
    },
    async keepName(sql, { id, name }) {
      await sql.query(KEEP_NAME, [id, name]);
    },
    async resolveOfComputers(sql, ended) {
      if (ended.length === 0) return;
      const computers = ended.map(({ computerId }) => computerId);
      const open = await sql.query<{ id: string }>(LOCK_COMPUTERS, [computers]);
      if (open.length > 0) await sql.query(RESOLVE_COMPUTERS, [idsOf(open), computers, instantsOf(ended), fresh(open)]);
    },
  };
}

function lockSubjects(
  sql: Sql,
  type: string,
  which: readonly Pick<AlertEnd, 'subject' | 'unless'>[],
): Promise<{ id: string }[]> {
  const subjects = which.map(({ subject }) => subject);
  const kept = which.map(({ unless }) => (unless ? JSON.stringify(unless) : null));
  return sql.query<{ id: string }>(LOCK_SUBJECTS, [type, subjects, kept]);
}

/** One row per subject. */
function turnParameters(conditions: readonly AlertCondition[]): unknown[] {
  const rows = beginnings(conditions).map(({ condition }) => condition);
  return [
    rows.map(({ subject }) => subject),
    rows.map(({ type }) => type),
    rows.map(({ type }) => severityOf(type)),
    rows.map(({ reason }) => reason),
    rows.map(({ detail }) => JSON.stringify(detail)),
  ];
}

const idsOf = (rows: readonly { readonly id: string }[]): string[] => rows.map(({ id }) => id);
const instantsOf = (ended: readonly { readonly at: FleetInstant }[]): number[] => ended.map(({ at }) => at);

/** One row per type and subject: PostgreSQL refuses to meet the same conflict twice in a statement. */
function raiseParameters(conditions: readonly AlertCondition[], random: Random): unknown[] {
  const rows = beginnings(conditions);
  return [
    rows.map(() => random.uuid()),
    rows.map(({ condition }) => condition.type),
    rows.map(({ condition }) => severityOf(condition.type)),
    rows.map(({ condition }) => condition.subject),
    rows.map(({ condition }) => condition.computerId),
    rows.map(({ condition }) => condition.raisedAt),
    rows.map(({ condition }) => condition.reason),
    rows.map(({ condition }) => JSON.stringify(condition.detail)),
    rows.map(({ occurrences }) => occurrences),
    rows.map(({ condition }) => condition.unlessOpen ?? null),
    rows.map(() => random.uuid()),
  ];
}

interface Beginning {
  readonly condition: AlertCondition;
  occurrences: number;
}

function beginnings(conditions: readonly AlertCondition[]): Beginning[] {
  const begun = new Map<string, Beginning>();
  for (const condition of conditions) {
    const known = begun.get(keyOf(condition));
    if (known) known.occurrences += 1;
    else begun.set(keyOf(condition), { condition, occurrences: 1 });
  }
  // A statement does not see what it inserts itself.
  return [...begun.values()].filter(({ condition: { type, subject, unlessOpen } }) => {
    return unlessOpen === undefined || unlessOpen === type || !begun.has(keyOf({ type: unlessOpen, subject }));
  });
}

const keyOf = ({ type, subject }: Pick<AlertCondition, 'type' | 'subject'>): string => `${type} ${subject}`;

function severityOf(type: string): string {
  if (!Object.hasOwn(ALERT_TYPES, type)) throw new Error(`Unknown alert type: ${type}`);
  return ALERT_TYPES[type as AlertType].severity;
}
