import { toRfc3339 } from '../../lib/clock.js';
import type { Random } from '../../lib/random.js';
import type { AlertWriter } from '../alerts/alert.js';
import type { Sql } from '../database/sql.js';
import type { FleetClock, FleetInstant } from '../fleet-clock/fleet-clock.js';
import type { FlagChange, GoodbyeChange, StatusTransition, StatusWriter } from './status.js';

export interface StatusWriterDeps {
  readonly alerts: AlertWriter;
  readonly random: Random;
  readonly fleetClock: Pick<FleetClock, 'toWall'>;
}

const UPDATE_STATUSES = `
UPDATE computer_status
SET status = changed.status, reason = changed.reason, since_fleet_ms = changed.since, offline_fleet_ms = changed.offline
FROM unnest($1::uuid[], $2::text[], $3::text[], $4::bigint[], $5::bigint[])
  AS changed (computer_id, status, reason, since, offline)
WHERE computer_status.computer_id = changed.computer_id`;

const INSERT_HISTORY = `
INSERT INTO status_history
  (id, partition_at, computer_id, status, previous_status, reason, since_fleet_ms, noticed_fleet_ms)
SELECT changed.id, $7::timestamptz, changed.computer_id, changed.status, changed.previous, changed.reason,
       changed.since, $8::bigint
FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::text[], $5::text[], $6::bigint[])
  AS changed (id, computer_id, status, previous, reason, since)`;

const UPDATE_FLAGS = `
UPDATE computer_status
SET flags = CASE WHEN changed.lit THEN array_append(computer_status.flags, changed.flag)
                 ELSE array_remove(computer_status.flags, changed.flag) END
FROM unnest($1::uuid[], $2::text[], $3::boolean[], $4::bigint[]) AS changed (computer_id, flag, lit, at)
WHERE computer_status.computer_id = changed.computer_id
  AND (changed.flag = ANY(computer_status.flags)) <> changed.lit
RETURNING computer_status.computer_id, computer_status.status, changed.flag, changed.lit, changed.at`;

const UPDATE_GOODBYES = `
UPDATE computer_status
SET goodbye_reason = changed.reason, goodbye_fleet_ms = changed.received, goodbye_expected_ms = changed.expected
FROM unnest($1::uuid[], $2::text[], $3::bigint[], $4::bigint[]) AS changed (computer_id, reason, received, expected)
WHERE computer_status.computer_id = changed.computer_id`;

/** A constant number of statements for any number of transitions; nothing for none. */
export function createStatusWriter({ alerts, random, fleetClock }: StatusWriterDeps): StatusWriter {
  const insertHistory = async (sql: Sql, rows: readonly HistoryRow[], noticedAt: FleetInstant): Promise<void> => {
    const partitionAt = toRfc3339(fleetClock.toWall(noticedAt));
    await sql.query(INSERT_HISTORY, [...historyColumns(rows, random), partitionAt, noticedAt]);
  };
  return {
    async apply(sql, transitions, noticedAt) {
      if (transitions.length === 0) return;
      await sql.query(UPDATE_STATUSES, statusColumns(transitions));
      await insertHistory(sql, transitions.map(toHistoryRow), noticedAt);
      await applyToAlerts({ alerts, sql, noticedAt }, transitions);
    },
    async setFlags(sql, changes) {
      for (const group of withoutRepeats(changes)) await setFlags({ sql, insertHistory }, group);
    },
    async setGoodbyes(sql, changes) {
      if (changes.length > 0) await sql.query(UPDATE_GOODBYES, goodbyeColumns(changes));
    },
  };
}

interface HistoryRow {
  readonly computerId: string;
  readonly status: string;
  readonly previous: string;
  readonly reason: string;
  readonly since: FleetInstant;
}

function toHistoryRow({ computerId, from, to, reason, since }: StatusTransition): HistoryRow {
  return { computerId, status: to, previous: from, reason, since };
}

function statusColumns(transitions: readonly StatusTransition[]): unknown[] {
  return [
    transitions.map(({ computerId }) => computerId),
    transitions.map(({ to }) => to),
    transitions.map(({ reason }) => reason),
    transitions.map(({ since }) => since),
    transitions.map(({ offlineAt }) => offlineAt),
  ];
}

function historyColumns(rows: readonly HistoryRow[], random: Random): unknown[] {
  return [
    rows.map(() => random.uuid()),
    rows.map(({ computerId }) => computerId),
    rows.map(({ status }) => status),
    rows.map(({ previous }) => previous),
    rows.map(({ reason }) => reason),
    rows.map(({ since }) => since),
  ];
}

interface AlertWork {
  readonly alerts: AlertWriter;
  readonly sql: Sql;
  readonly noticedAt: FleetInstant;
}

async function applyToAlerts({ alerts, sql, noticedAt }: AlertWork, transitions: readonly StatusTransition[]) {
  const revoked = transitions.filter(({ to }) => to === 'revoked');
  await alerts.resolveOfComputers(
    sql,
    revoked.map(({ computerId, since }) => ({ computerId, at: since })),
  );
  await alerts.resolve(
    sql,
    'computer-offline',
    transitions
      .filter(({ offlineAlert, to }) => offlineAlert === null && to !== 'revoked')
      // A status that goes on began before the alert; what ended the alert is only known to have been noticed.
      .map(({ computerId, from, to, since }) => ({ subject: computerId, at: from === to ? noticedAt : since })),
  );
  await alerts.raise(
    sql,
    transitions.flatMap(({ computerId, offlineAlert }) =>
      offlineAlert === null
        ? []
        : [{ type: 'computer-offline', subject: computerId, computerId, detail: {}, ...offlineAlert }],
    ),
  );
}

interface FlagWork {
  readonly sql: Sql;
  readonly insertHistory: (sql: Sql, rows: readonly HistoryRow[], noticedAt: FleetInstant) => Promise<void>;
}

interface ChangedFlag {
  readonly computer_id: string;
  readonly status: string;
  readonly flag: string;
  readonly lit: boolean;
  readonly at: number;
}

async function setFlags({ sql, insertHistory }: FlagWork, changes: readonly FlagChange[]): Promise<void> {
  const changed = await sql.query<ChangedFlag>(UPDATE_FLAGS, [
    changes.map(({ computerId }) => computerId),
    changes.map(({ flag }) => flag),
    changes.map(({ on }) => on),
    changes.map(({ at }) => at),
  ]);
  if (changed.length === 0) return;
  const rows = changed.map(({ computer_id, status, flag, lit, at }) => ({
    computerId: computer_id,
    status,
    previous: status,
    reason: lit ? flag : `${flag}-ended`,
    since: at,
  }));
  await insertHistory(sql, rows, Math.max(...rows.map(({ since }) => since)));
}

/** Splits so that a computer is at most once in each group: an UPDATE takes only one of several matches. */
function withoutRepeats(changes: readonly FlagChange[]): FlagChange[][] {
  const groups: FlagChange[][] = [];
  const met = new Map<string, number>();
  for (const change of changes) {
    const index = met.get(change.computerId) ?? 0;
    met.set(change.computerId, index + 1);
    (groups[index] ??= []).push(change);
  }
  return groups;
}

function goodbyeColumns(changes: readonly GoodbyeChange[]): unknown[] {
  return [
    changes.map(({ computerId }) => computerId),
    changes.map(({ goodbye }) => goodbye?.reason ?? null),
    changes.map(({ goodbye }) => goodbye?.receivedAt ?? null),
    changes.map(({ goodbye }) => goodbye?.expectedBackMs ?? null),
  ];
}
