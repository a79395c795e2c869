import type { ClosedWay, WayFacts } from '../../policies/contact-ways.js';
import type { Scope } from '../access/scope.js';
import type { Sql } from '../database/sql.js';
import { DIAL_ANSWERED } from '../dials/dial-requests.js';
import { LIVENESS_COLUMNS, LIVENESS_TABLES, type LivenessRow } from '../statuses/liveness-row.js';
import {
  IS_NOT_REVOKED,
  IS_SUBJECT,
  OF_POLICIES,
  subjectColumns,
  SUBJECTS,
  wholeFleet,
  type RuledSubject,
} from './preview-query.js';
import { SAMPLE_MAX } from './preview.js';

const LAST_DIAL = 'LEFT JOIN computer_dials AS last_dial ON last_dial.computer_id = computers.id';
const PROBE_IS_ANSWERED = `answered_probe.computer_id = computers.id AND answered_probe.result = '${DIAL_ANSWERED}'`;
const ANSWERED_PROBE = `LEFT JOIN computer_probes AS answered_probe ON ${PROBE_IS_ANSWERED}`;
const WAY_TABLES = `LEFT JOIN computer_contacts ON computer_contacts.computer_id = computers.id ${LAST_DIAL}`;

/** The rule `listenerReachable` as SQL, true where it is, of a computer that a dial or a probe ever reached. */
const IS_REACHABLE = `(COALESCE(computer_contacts.listener_state, 'listening') = 'listening'
  AND (last_dial.computer_id IS NULL OR last_dial.last_result = '${DIAL_ANSWERED}'
    OR last_dial.last_begun_fleet_ms
      <= GREATEST(computer_live.seen_by_dial_fleet_ms, answered_probe.ended_fleet_ms)))`;

/** The rule `agentDialled` as SQL, of a computer that was ever heard. */
const HAS_DIALLED = '(computer_live.seen_by_agent_fleet_ms IS NOT NULL OR computer_live.seen_by_dial_fleet_ms IS NULL)';

/** Computers of the subjects that were heard over whatever way. */
const HEARD = `FROM computers JOIN subject ON ${IS_SUBJECT}
    JOIN computer_live ON computer_live.computer_id = computers.id`;
const IS_HEARD = `${OF_POLICIES} AND ${IS_NOT_REVOKED} AND computer_live.last_seen_fleet_ms IS NOT NULL`;

/** Contacts and dials are asked only about those that a dial or a probe, of which there are few, ever reached. */
const LOSERS: Readonly<Record<ClosedWay, string>> = {
  agent: `
    SELECT computers.id ${HEARD} ${ANSWERED_PROBE}
    WHERE ${IS_HEARD} AND computer_live.seen_by_dial_fleet_ms IS NULL AND answered_probe.computer_id IS NULL
    UNION ALL
    SELECT computers.id ${HEARD} JOIN computer_probes AS answered_probe ON ${PROBE_IS_ANSWERED} ${WAY_TABLES}
    WHERE ${IS_HEARD} AND computer_live.seen_by_dial_fleet_ms IS NULL AND NOT ${IS_REACHABLE}
    UNION ALL
    SELECT computers.id ${HEARD} ${ANSWERED_PROBE} ${WAY_TABLES}
    WHERE ${IS_HEARD} AND computer_live.seen_by_dial_fleet_ms IS NOT NULL AND NOT ${IS_REACHABLE}`,
  listener: `SELECT computers.id ${HEARD} WHERE ${IS_HEARD} AND NOT ${HAS_DIALLED}`,
};

/** One pass: the few that are named are taken from those that are counted. */
const countLosersIn = (closed: ClosedWay): string => `
WITH ${SUBJECTS}, loser AS MATERIALIZED (${LOSERS[closed]})
SELECT count(*) AS count,
  ARRAY(SELECT first.id::text FROM loser AS first ORDER BY first.id LIMIT ${SAMPLE_MAX}) AS sample
FROM loser`;

export interface Losers {
  readonly count: number;
  readonly sample: readonly string[];
}

/** Computers of subjects, by the way that the edit forbids them, that are not known to have another. */
export async function countLosers(
  sql: Sql,
  closed: Readonly<Record<ClosedWay, readonly RuledSubject[]>>,
): Promise<Losers> {
  const found: Losers[] = [];
  for (const way of ['agent', 'listener'] as const)
    if (closed[way].length > 0) found.push(await countLosersOf(sql, way, closed[way]));
  return {
    count: found.reduce((sum, { count }) => sum + count, 0),
    sample: found
      .flatMap(({ sample }) => sample)
      .toSorted()
      .slice(0, SAMPLE_MAX),
  };
}

async function countLosersOf(sql: Sql, way: ClosedWay, subjects: readonly RuledSubject[]): Promise<Losers> {
  const [row] = await wholeFleet<Losers>(sql, countLosersIn(way), subjectColumns(subjects));
  return row ?? { count: 0, sample: [] };
}

export interface PreviewedRow extends LivenessRow {
  readonly name: string;
  readonly seen_by_agent_fleet_ms: number | null;
  readonly seen_by_dial_fleet_ms: number | null;
  readonly listener_state: WayFacts['listenerState'];
  readonly failed_dial_fleet_ms: number | null;
  readonly probed_fleet_ms: number | null;
}

/** One computer of the scope with all that its verdict and its ways depend on. */
export async function findPreviewedRow(sql: Sql, scope: Scope, computerId: string): Promise<PreviewedRow | undefined> {
  const visible = scope.predicate('computers.policy_id', 3);
  const [row] = await sql.query<PreviewedRow>(
    `SELECT ${LIVENESS_COLUMNS}, computers.name, computer_live.seen_by_agent_fleet_ms,
       computer_live.seen_by_dial_fleet_ms, computer_contacts.listener_state,
       CASE WHEN last_dial.last_result <> $2 THEN last_dial.last_begun_fleet_ms END AS failed_dial_fleet_ms,
       answered_probe.ended_fleet_ms AS probed_fleet_ms
     FROM ${LIVENESS_TABLES} ${LAST_DIAL} ${ANSWERED_PROBE} WHERE computers.id = $1 AND ${visible.sql}`,
    [computerId, DIAL_ANSWERED, ...visible.parameters],
  );
  return row;
}
