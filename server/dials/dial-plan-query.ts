import type { Sql } from '../database/sql.js';
import type { FleetInstant } from '../fleet-clock/fleet-clock.js';
import type { ChangedPolicies } from '../policies/policy-watch.js';
import type { ComputerSettings, SettingsCache } from '../policies/settings-cache.js';
import { shardRange } from '../shards/shard-rules.js';
import { countedIntervalMs, settingsSubjectOf } from '../statuses/liveness-row.js';
import type { Status } from '../statuses/status.js';
import type { CandidateFacts, DialFacts, Direction, FailedDials } from './dial-rules.js';
import { dialSettingsOf } from './dial-settings.js';
import type { TargetFacts } from './dial-target.js';

/** What is known of a computer when it is looked at. */
export interface DialPlan {
  readonly facts: DialFacts;
  readonly target: TargetFacts;
  /** Whether the last dial's row says that it failed. */
  readonly hasFailed: boolean;
}

interface PlanRow {
  readonly computer_id: string;
  readonly kind: 'agent' | 'appliance';
  readonly policy_id: string;
  readonly overrides: string | null;
  readonly address: string | null;
  readonly enrolled_fleet_ms: FleetInstant | null;
  readonly observed_address: string | null;
  readonly status: Status;
  readonly last_seen_fleet_ms: FleetInstant | null;
  readonly contact_due_fleet_ms: FleetInstant | null;
  readonly confirmed_interval_ms: number | null;
  readonly delivered_interval_ms: number | null;
  readonly applied: string | null;
  readonly delivered: string | null;
  readonly direction: Direction | null;
  readonly direction_since_fleet_ms: FleetInstant | null;
  readonly listener_state: 'closed' | 'listening' | 'failed' | null;
  readonly listener_port: number | null;
  readonly candidate: string | null;
  readonly candidate_direction: Direction | null;
  readonly candidate_state: 'proving' | 'reverted' | null;
  readonly candidate_port: number | null;
  readonly candidate_since_fleet_ms: FleetInstant | null;
  readonly last_begun_fleet_ms: FleetInstant | null;
  readonly last_ended_fleet_ms: FleetInstant | null;
  readonly last_result: string | null;
  readonly failures: number | null;
  readonly is_held: boolean;
  readonly has_commands: boolean;
  readonly awaits_results: boolean;
  readonly epoch: string;
  readonly counter: number;
}

const COLUMNS = `
  computers.id AS computer_id, computers.kind, computers.policy_id, computers.overrides::text AS overrides,
  computers.address, computers.enrolled_fleet_ms, computer_facts.observed_address, computer_status.status,
  computer_live.last_seen_fleet_ms, computer_live.contact_due_fleet_ms,
  computer_live.confirmed_interval_ms, computer_live.delivered_interval_ms,
  encode(computer_live.applied_fingerprint, 'hex') AS applied,
  encode(computer_live.delivered_fingerprint, 'hex') AS delivered,
  computer_live.has_commands, computer_live.awaits_results,
  computer_contacts.direction, computer_contacts.direction_since_fleet_ms,
  computer_contacts.listener_state, computer_contacts.listener_port,
  encode(computer_contacts.candidate_fingerprint, 'hex') AS candidate, computer_contacts.candidate_direction,
  computer_contacts.candidate_state, computer_contacts.candidate_port, computer_contacts.candidate_since_fleet_ms,
  computer_dials.last_begun_fleet_ms, computer_dials.last_ended_fleet_ms, computer_dials.last_result,
  computer_dials.failures, policy_forest.epoch, policy_forest.counter,
  (channels.state = 'open' AND listeners.generation = channels.generation) IS TRUE AS is_held`;

const TABLES = `computers
  JOIN computer_live ON computer_live.computer_id = computers.id
  JOIN computer_status ON computer_status.computer_id = computers.id
  JOIN policy_forest ON policy_forest.id = 1
  LEFT JOIN computer_facts ON computer_facts.computer_id = computers.id
  LEFT JOIN computer_contacts ON computer_contacts.computer_id = computers.id
  LEFT JOIN computer_dials ON computer_dials.computer_id = computers.id
  LEFT JOIN channels ON channels.computer_id = computers.id
  LEFT JOIN listeners ON listeners.node = channels.listener`;

const READ_PLANS = `SELECT ${COLUMNS} FROM ${TABLES} WHERE computers.id = ANY($1::uuid[]) ORDER BY computers.id`;

/** Everyone whom the rules could have dialled: most of a fleet without listeners is not among them. */
const READ_SHARD = `
SELECT ${COLUMNS} FROM ${TABLES}
WHERE computers.id BETWEEN $1 AND $2 AND ($3::uuid IS NULL OR computers.id > $3)
  AND computers.enrolled_fleet_ms IS NOT NULL AND computer_status.status <> 'revoked'
  AND (computer_contacts.direction = 'managerInitiated' OR computer_contacts.listener_state = 'listening'
    OR computer_contacts.candidate_state = 'proving'
    OR (computer_contacts.direction IS NULL AND computer_live.last_seen_fleet_ms IS NULL))
ORDER BY computers.id LIMIT $4`;

const PAGE = 1000;

export interface PlanReader {
  /** Those that still exist, in id order. */
  read(computerIds: readonly string[]): Promise<readonly DialPlan[]>;
  /** The shard's computers that may have to be dialled, page by page. */
  readShard(shard: number): AsyncIterable<readonly DialPlan[]>;
}

export function createPlanReader({
  sql,
  settings,
}: {
  readonly sql: Sql;
  readonly settings: SettingsCache;
}): PlanReader {
  const toPlans = async (rows: readonly PlanRow[]): Promise<readonly DialPlan[]> => {
    const [first] = rows;
    if (first) await settings.ensure({ epoch: first.epoch, counter: first.counter });
    return rows.flatMap((row) => toPlan(row, settings));
  };
  return {
    read: async (computerIds) => toPlans(await sql.query<PlanRow>(READ_PLANS, [computerIds])),
    async *readShard(shard) {
      const { first, last } = shardRange(shard);
      let after: string | null = null;
      for (;;) {
        const rows: PlanRow[] = await sql.query<PlanRow>(READ_SHARD, [first, last, after, PAGE]);
        yield await toPlans(rows);
        if (rows.length < PAGE) return;
        after = rows.at(-1)?.computer_id ?? null;
      }
    },
  };
}

function toPlan(row: PlanRow, cache: SettingsCache): DialPlan[] {
  const settings = settingsOrNone(row, cache);
  if (!settings) return [];
  const { listenerPort } = dialSettingsOf(settings);
  const isListening = row.listener_state === 'listening';
  return [
    {
      facts: toFacts(row, settings),
      hasFailed: row.last_result !== null && row.last_result !== 'answered',
      target: {
        address: row.address,
        observedAddress: row.observed_address,
        candidatePort: row.candidate_port,
        listenerPort: isListening ? row.listener_port : null,
        settingPort: listenerPort,
      },
    },
  ];
}

/** A policy that was deleted since the rows were read: the next look finds the computer elsewhere. */
function settingsOrNone(row: PlanRow, cache: SettingsCache): ComputerSettings | undefined {
  try {
    return cache.settingsOf(settingsSubjectOf(row));
  } catch {
    return undefined;
  }
}

function toFacts(row: PlanRow, settings: ComputerSettings): DialFacts {
  return {
    computerId: row.computer_id,
    isRevoked: row.status === 'revoked',
    enrolledAt: row.enrolled_fleet_ms,
    lastSeenAt: row.last_seen_fleet_ms,
    contactDueAt: row.contact_due_fleet_ms,
    intervalMs: countedIntervalMs(row, settings),
    appliedFingerprint: row.applied,
    deliveredFingerprint: row.delivered,
    desired: {
      fingerprint: settings.fingerprint,
      direction: dialSettingsOf(settings).communicationDirection,
      graceMs: settings.verdictRules.graceMs,
    },
    direction: row.direction,
    directionSince: row.direction_since_fleet_ms,
    isListening: row.listener_state === 'listening',
    isHeld: row.is_held,
    candidate: toCandidate(row),
    failed: toFailed(row),
    commands: { areWaiting: row.has_commands, areAwaited: row.awaits_results },
  };
}

function toCandidate(row: PlanRow): CandidateFacts | null {
  const { candidate, candidate_direction: direction, candidate_state: state, candidate_since_fleet_ms: since } = row;
  if (candidate === null || state === null || since === null) return null;
  return { fingerprint: candidate, direction, state, since };
}

function toFailed(row: PlanRow): FailedDials | null {
  const { failures, last_result: lastResult } = row;
  const [lastBegunAt, lastEndedAt] = [row.last_begun_fleet_ms, row.last_ended_fleet_ms];
  if (lastResult === null || lastResult === 'answered' || lastBegunAt === null || lastEndedAt === null) return null;
  return { count: Math.max(1, failures ?? 0), lastBegunAt, lastEndedAt, lastResult };
}

/** Listening computers of a shard that may not have the settings of these policies yet; overrides are not looked into. */
const FIND_OUTDATED = `
SELECT computers.id FROM unnest($3::uuid[], $4::text[]) AS changed (policy_id, fingerprint)
JOIN computers ON computers.policy_id = changed.policy_id
JOIN computer_contacts ON computer_contacts.computer_id = computers.id
JOIN computer_live ON computer_live.computer_id = computers.id
WHERE computers.id BETWEEN $1 AND $2
  AND (computer_contacts.direction = 'managerInitiated' OR computer_contacts.listener_state = 'listening')
  AND (computers.overrides IS NOT NULL OR computers.kind <> 'agent'
    OR computer_live.applied_fingerprint IS DISTINCT FROM decode(changed.fingerprint, 'hex'))
  AND NOT EXISTS (SELECT FROM channels WHERE channels.computer_id = computers.id AND channels.state = 'open')
ORDER BY computers.id`;

export async function findOutdated(sql: Sql, shard: number, { ids, fingerprints }: ChangedPolicies): Promise<string[]> {
  const { first, last } = shardRange(shard);
  const rows = await sql.query<{ id: string }>(FIND_OUTDATED, [first, last, ids, fingerprints]);
  return rows.map(({ id }) => id);
}
