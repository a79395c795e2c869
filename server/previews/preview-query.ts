import { NEVER_MS, type SilenceLimits } from '../../policies/silence-limits.js';
import type { Sql } from '../database/sql.js';
import { OUTCOME, OUTCOME_NAMES, SAMPLED_OUTCOMES, type OutcomeName, type SampledOutcome } from './preview-rules.js';
import { emptyTally, type Tally } from './preview-tally.js';
import { SAMPLE_MAX, type PreviewedComputer } from './preview.js';

/** Computers that resolve alike: same policy, kind and overrides. */
export interface Subject {
  readonly policyId: string;
  readonly kind: 'agent' | 'appliance';
  /** JSON text as the database writes it; null for none. */
  readonly overrides: string | null;
}

/** All subjects attached to these policies, with how many computers each has. */
export async function listSubjects(
  sql: Sql,
  policyIds: readonly string[],
): Promise<(Subject & { readonly computers: number })[]> {
  return sql.query(
    `SELECT computers.policy_id AS "policyId", computers.kind, computers.overrides::text AS overrides,
       count(*) AS computers
     FROM computers WHERE computers.policy_id = ANY($1::uuid[])
     GROUP BY computers.policy_id, computers.kind, computers.overrides
     ORDER BY computers.policy_id, computers.kind, computers.overrides`,
    [policyIds],
  );
}

/** Every interval that some computer is to be counted by; 0 for those that were given none. */
export async function listIntervals(sql: Sql): Promise<number[]> {
  const rows = await sql.query<{ interval_ms: number }>(
    `SELECT DISTINCT GREATEST(computer_live.confirmed_interval_ms, computer_live.delivered_interval_ms, 0) AS interval_ms
     FROM computer_live ORDER BY interval_ms`,
  );
  return rows.map((row) => row.interval_ms);
}

export interface RuleCase {
  readonly rule: number;
  readonly intervalMs: number;
}

export interface CaseQuestion {
  readonly subjects: readonly RuledSubject[];
  readonly part: FleetPart;
  /** By rule the shortest interval that it can count by, in milliseconds. */
  readonly shortest: readonly number[];
  readonly at: number;
}

/** The rules and intervals of computers that were silent for an interval at least: nobody else can be late. */
export async function listCases(sql: Sql, { subjects, part, shortest, at }: CaseQuestion): Promise<RuleCase[]> {
  const interval = 'GREATEST(computer_live.confirmed_interval_ms, computer_live.delivered_interval_ms, 0)';
  return wholeFleet<RuleCase>(
    sql,
    `WITH ${SUBJECTS}
     SELECT DISTINCT subject.rule, ${interval} AS "intervalMs"
     FROM computers JOIN computer_live ON computer_live.computer_id = computers.id JOIN subject ON ${IS_SUBJECT}
     WHERE ${OF_POLICIES} AND computers.id > $5 AND computers.id <= $6
       AND computer_live.last_seen_fleet_ms <= $7::bigint - LEAST(NULLIF(${interval}, 0), ($8::integer[])[subject.rule + 1])
     ORDER BY subject.rule, "intervalMs"`,
    [...subjectColumns(subjects), part.after, part.last, at, arrayOf(shortest)],
  );
}

/** A subject whose settings the edit changes, by the number of the rules that it is judged by. */
export interface RuledSubject extends Subject {
  readonly rule: number;
}

/** The parameters $1 to $4 of every statement about subjects: their policies, and by subject its place among them and kind. */
export const SUBJECTS = `subject AS (
  SELECT ($1::uuid[])[1 + given.place / 2] AS policy_id,
    CASE given.place % 2 WHEN 0 THEN 'agent' ELSE 'appliance' END AS kind, given.overrides, given.rule
  FROM unnest($2::integer[], $3::text[], $4::integer[]) AS given (place, overrides, rule)
)`;
export const IS_SUBJECT = `subject.policy_id = computers.policy_id AND subject.kind = computers.kind
  AND subject.overrides = COALESCE(computers.overrides::text, '')`;

/** What a policy's number of computers tells the planner: the subjects themselves come as a list without statistics. */
export const OF_POLICIES = 'computers.policy_id = ANY($1::uuid[])';

/** Written so that a few are found by their index, without reading every status. */
export const IS_NOT_REVOKED = `NOT EXISTS (SELECT 1 FROM computer_status AS gone
  WHERE gone.computer_id = computers.id AND gone.status = 'revoked')`;

/** By list: the same one goes into several statements, and writing it costs more than the statements do. */
const COLUMNS = new WeakMap<readonly RuledSubject[], readonly string[]>();

export function subjectColumns(subjects: readonly RuledSubject[]): readonly string[] {
  const known = COLUMNS.get(subjects);
  if (known) return known;
  const places = new Map<string, number>();
  const placeOf = ({ policyId, kind }: RuledSubject): number => {
    const place = places.get(policyId) ?? places.size;
    places.set(policyId, place);
    return place * 2 + (kind === 'agent' ? 0 : 1);
  };
  const placed = arrayOf(subjects.map(placeOf));
  const columns = [
    arrayOf([...places.keys()]),
    placed,
    arrayOf(subjects.map(({ overrides }) => quoted(overrides ?? ''))),
    arrayOf(subjects.map(({ rule }) => rule)),
  ];
  COLUMNS.set(subjects, columns);
  return columns;
}

/** An array as PostgreSQL reads it. */
function arrayOf(elements: readonly (string | number)[]): string {
  return `{${elements.join(',')}}`;
}

function quoted(text: string): string {
  return `"${text.replace(/["\\]/g, '\\$&')}"`;
}

/** The limits of the computers of one rule and interval whose last receipt is of one class. */
export interface LimitRow {
  readonly rule: number;
  readonly intervalMs: number;
  readonly receiptClass: number;
  readonly present: SilenceLimits;
  readonly next: SilenceLimits;
  readonly steady: SilenceLimits;
}

export interface SilenceQuestion {
  readonly subjects: readonly RuledSubject[];
  readonly limits: readonly LimitRow[];
  readonly cuts: readonly number[];
  readonly part: FleetPart;
}

/** Computers with ids above `after` up to `last`. */
export interface FleetPart {
  readonly after: string;
  readonly last: string;
}

const BELOW_EVERY_ID = '00000000-0000-0000-0000-000000000000';

/** The fleet in 1, 2, 4, … 64 parts of about the same size: ids are random. */
export function partsOfFleet(count: number): FleetPart[] {
  const lastOf = (part: number): string => {
    const byte = ((part * 256) / count - 1).toString(16).padStart(2, '0');
    return `${byte}ffffff-ffff-ffff-ffff-ffffffffffff`;
  };
  return Array.from({ length: count }, (_, part) => ({
    after: part === 0 ? BELOW_EVERY_ID : lastOf(part),
    last: lastOf(part + 1),
  }));
}

const SIDES = ['present', 'next', 'steady'] as const;
type Side = (typeof SIDES)[number];
const FIRST_LIMIT_PARAMETER = 10;

/** In the steady state the ordered contact is the last receipt plus the interval, so the receipt alone decides. */
const SIDES_WITH_CONTACT: ReadonlySet<Side> = new Set(['present', 'next']);

interface LimitColumn {
  readonly name: string;
  readonly valueOf: (row: LimitRow) => number;
}

const LIMIT_COLUMNS = SIDES.flatMap((side): LimitColumn[] =>
  (['late', 'offline'] as const).flatMap((status): LimitColumn[] => {
    const seen = { name: `${side}_${status}_seen`, valueOf: (row: LimitRow) => row[side][status].seen };
    const due = { name: `${side}_${status}_due`, valueOf: (row: LimitRow) => row[side][status].due };
    return SIDES_WITH_CONTACT.has(side) ? [seen, due] : [seen];
  }),
);

const PART_PARAMETER = FIRST_LIMIT_PARAMETER + LIMIT_COLUMNS.length;
const IS_IN_PART = ['computers.id', 'computer_live.computer_id']
  .map((id) => `AND ${id} > $${PART_PARAMETER} AND ${id} <= $${PART_PARAMETER + 1}`)
  .join(' ');

function outcomeBits(side: Side, late: number, offline: number): string {
  const passed = (status: string) =>
    [
      `silent.seen <= ${side}_${status}_seen`,
      ...(SIDES_WITH_CONTACT.has(side) ? [`silent.due <= ${side}_${status}_due`] : []),
    ].join(' AND ');
  return `CASE WHEN ${passed('offline')} THEN ${offline} WHEN ${passed('late')} THEN ${late} ELSE 0 END`;
}

/**
 * One pass: computers that were heard later than any limit are left out first. A computer without an ordered contact
 * has none to miss: what its last receipt says decides.
 */
const countOutcomesIn = (isPart: boolean): string => `
WITH ${SUBJECTS}, limits AS (
  SELECT * FROM unnest($7::integer[], $8::integer[], $9::integer[],
    ${LIMIT_COLUMNS.map((_, index) => `$${FIRST_LIMIT_PARAMETER + index}::bigint[]`).join(', ')})
    AS given (rule, interval_ms, receipt_class, ${LIMIT_COLUMNS.map(({ name }) => name).join(', ')})
), silent AS (
  SELECT computer_live.computer_id, subject.rule, computer_live.last_seen_fleet_ms AS seen,
    COALESCE(computer_live.contact_due_fleet_ms, ${NEVER_MS + 1}) AS due,
    GREATEST(computer_live.confirmed_interval_ms, computer_live.delivered_interval_ms, 0) AS interval_ms,
    width_bucket(computer_live.last_seen_fleet_ms, $6::bigint[]) AS receipt_class
  FROM computers JOIN computer_live ON computer_live.computer_id = computers.id JOIN subject ON ${IS_SUBJECT}
    LEFT JOIN (SELECT computer_status.computer_id, computer_status.goodbye_fleet_ms FROM computer_status
      WHERE computer_status.goodbye_reason IN ('restart', 'update', 'uninstall')) AS parted ON parted.computer_id = computers.id
  WHERE computer_live.last_seen_fleet_ms <= $5 AND ${OF_POLICIES} AND ${IS_NOT_REVOKED}
    AND (parted.goodbye_fleet_ms IS NULL OR parted.goodbye_fleet_ms < computer_live.last_seen_fleet_ms)
    AND (computers.power_since_fleet_ms IS NULL
      OR computers.power_since_fleet_ms < computer_live.last_seen_fleet_ms)
    AND NOT EXISTS (SELECT 1 FROM computer_contacts AS dialled
      WHERE dialled.computer_id = computers.id AND dialled.direction = 'managerInitiated')
    ${isPart ? IS_IN_PART : ''}
), judged AS MATERIALIZED (
  SELECT silent.computer_id, ${[
    outcomeBits('present', OUTCOME.presentLate, OUTCOME.presentOffline),
    outcomeBits('next', OUTCOME.late, OUTCOME.offline),
    outcomeBits('steady', OUTCOME.steadyLate, OUTCOME.steadyOffline),
  ].join(' + ')} AS outcome
  FROM silent JOIN limits USING (rule, interval_ms, receipt_class)
)
SELECT ${OUTCOME_NAMES.map((name) => `count(*) FILTER (WHERE outcome & ${OUTCOME[name]} <> 0) AS "${name}"`).join(', ')},
  ${SAMPLED_OUTCOMES.map(
    (name) => `ARRAY(SELECT first.computer_id::text FROM judged AS first WHERE first.outcome & ${OUTCOME[name]} <> 0
    ORDER BY first.computer_id LIMIT ${SAMPLE_MAX}) AS "${name}Sample"`,
  ).join(', ')}
FROM judged`;

/**
 * Runs a statement of the transaction without nested loops. The planner knows nothing of the lists that come as
 * parameters and takes them for short; a pass over the whole fleet must not hang on that.
 */
export async function wholeFleet<Row extends object>(
  sql: Sql,
  text: string,
  parameters: readonly unknown[],
): Promise<Row[]> {
  await sql.query("SELECT set_config('enable_nestloop', 'off', true)");
  const rows = await sql.query<Row>(text, parameters);
  await sql.query("SELECT set_config('enable_nestloop', 'on', true)");
  return rows;
}

/** The latest receipt of a computer that is silent by any of these limits. */
export function latestSilent(limits: readonly LimitRow[]): number {
  return limits.reduce((most, row) => Math.max(most, ...SIDES.map((side) => row[side].late.seen)), NEVER_MS);
}

/**
 * Late and offline computers without a power state, without a goodbye that moves a deadline, and whose misses need no
 * dials.
 */
export async function countOutcomes(sql: Sql, { subjects, limits, cuts, part }: SilenceQuestion): Promise<Tally> {
  if (limits.length === 0) return emptyTally();
  const isPart = part.after !== BELOW_EVERY_ID || part.last !== LAST_IDS[1];
  const [row] = await wholeFleet<Record<string, number | string[]>>(sql, countOutcomesIn(isPart), [
    ...subjectColumns(subjects),
    latestSilent(limits),
    cuts,
    arrayOf(limits.map(({ rule }) => rule)),
    arrayOf(limits.map(({ intervalMs }) => intervalMs)),
    arrayOf(limits.map(({ receiptClass }) => receiptClass)),
    ...LIMIT_COLUMNS.map(({ valueOf }) => arrayOf(limits.map(valueOf))),
    ...(isPart ? [part.after, part.last] : []),
  ]);
  const of = <Name extends OutcomeName, T>(names: readonly Name[], suffix: string) =>
    Object.fromEntries(names.map((name) => [name, row?.[`${name}${suffix}`]])) as Record<Name, T>;
  return {
    counts: of<OutcomeName, number>(OUTCOME_NAMES, ''),
    samples: of<SampledOutcome, string[]>(SAMPLED_OUTCOMES, 'Sample'),
  };
}

/** The last id of the part of the fleet that is looked at first, and of all of it. */
const LAST_IDS = ['00ffffff-ffff-ffff-ffff-ffffffffffff', 'ffffffff-ffff-ffff-ffff-ffffffffffff'] as const;

/** The first few ids of a list that is bounded by one of `LAST_IDS`: ids are random, so mostly the first part has them. */
async function firstIds(read: (lastId: string) => Promise<readonly { readonly id: string }[]>): Promise<string[]> {
  const [part, all] = LAST_IDS;
  const few = await read(part);
  return (few.length < SAMPLE_MAX ? await read(all) : few).map(({ id }) => id);
}

/** The first few computers of the subjects by id. */
export function sampleSubjects(sql: Sql, subjects: readonly RuledSubject[]): Promise<string[]> {
  return firstIds((lastId) =>
    wholeFleet(
      sql,
      `WITH ${SUBJECTS} SELECT computers.id FROM computers JOIN subject ON ${IS_SUBJECT}
       WHERE ${OF_POLICIES} AND computers.id <= $5 ORDER BY computers.id LIMIT ${SAMPLE_MAX}`,
      [...subjectColumns(subjects), lastId],
    ),
  );
}

/** The computers of these ids by name, in the order of their ids. */
export async function nameComputers(sql: Sql, ids: readonly string[]): Promise<Map<string, PreviewedComputer>> {
  const rows = await sql.query<PreviewedComputer>(
    'SELECT computers.id, computers.name FROM computers WHERE computers.id = ANY($1::uuid[]) ORDER BY computers.id',
    [ids],
  );
  return new Map(rows.map((row) => [row.id, row]));
}
