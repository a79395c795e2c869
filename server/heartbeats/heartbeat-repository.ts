import type { FleetInstant } from '../fleet-clock/fleet-clock.js';
import type { ForestGeneration } from '../policies/settings-cache.js';
import type { Status } from '../statuses/status.js';
import type { HotSession } from './hot-session.js';
import type { LiveRow, LockedComputer } from './live-row.js';

export interface LockedBatch {
  readonly generation: ForestGeneration;
  /** By computer id; who is missing was removed. */
  readonly computers: ReadonlyMap<string, LockedComputer>;
}

/** What a computer's status looks like under the lock of its row. */
export interface StoredStanding {
  readonly status: Status;
  readonly hasGoodbye: boolean;
  readonly isStopped: boolean;
}

interface LockedRow {
  readonly computer_id: string;
  readonly last_seen_fleet_ms: string | null;
  readonly seen_by_agent_fleet_ms: string | null;
  readonly seen_by_dial_fleet_ms: string | null;
  readonly contact_due_fleet_ms: string | null;
  readonly confirmed_interval_ms: number | null;
  readonly delivered_interval_ms: number | null;
  readonly delivered_fingerprint: Buffer | null;
  readonly sequence: string;
  readonly report_id: string | null;
  readonly report_digest: Buffer | null;
  readonly boot_id: string | null;
  readonly instance_id: string | null;
  readonly token_n: string;
  readonly applied_fingerprint: Buffer | null;
  readonly pending_contacts: number;
  readonly state_digest: Buffer | null;
  readonly answered_fleet_ms: string | null;
  readonly clock_offset_ms: string | null;
  readonly clock_error_ms: string | null;
  readonly clock_sampled_fleet_ms: string | null;
  readonly is_clock_drifting: boolean;
  readonly has_commands: boolean;
  readonly awaits_results: boolean;
  readonly kind: 'agent' | 'appliance';
  readonly policy_id: string;
  readonly overrides: string | null;
  readonly is_revoked: boolean;
  readonly is_first_use: boolean;
  readonly epoch: string | null;
  readonly counter: string | null;
}

interface Column {
  readonly name: string;
  readonly type: string;
  readonly valueOf: (row: LiveRow) => unknown;
}

const COLUMNS: readonly Column[] = [
  { name: 'last_seen_fleet_ms', type: 'bigint', valueOf: (row) => row.lastSeenAt },
  { name: 'seen_by_agent_fleet_ms', type: 'bigint', valueOf: (row) => row.seenByAgentAt },
  { name: 'seen_by_dial_fleet_ms', type: 'bigint', valueOf: (row) => row.seenByDialAt },
  { name: 'contact_due_fleet_ms', type: 'bigint', valueOf: (row) => row.contactDueAt },
  { name: 'confirmed_interval_ms', type: 'integer', valueOf: (row) => row.confirmedIntervalMs },
  { name: 'delivered_interval_ms', type: 'integer', valueOf: (row) => row.deliveredIntervalMs },
  { name: 'delivered_fingerprint', type: 'bytea', valueOf: (row) => toBytes(row.deliveredFingerprint) },
  { name: 'sequence', type: 'bigint', valueOf: (row) => row.sequence },
  { name: 'report_id', type: 'uuid', valueOf: (row) => row.reportId },
  { name: 'report_digest', type: 'bytea', valueOf: (row) => row.reportDigest },
  { name: 'boot_id', type: 'text', valueOf: (row) => row.bootId },
  { name: 'instance_id', type: 'uuid', valueOf: (row) => row.instanceId },
  { name: 'token_n', type: 'bigint', valueOf: (row) => row.tokenN },
  { name: 'applied_fingerprint', type: 'bytea', valueOf: (row) => toBytes(row.appliedFingerprint) },
  { name: 'pending_contacts', type: 'smallint', valueOf: (row) => row.pendingContacts },
  { name: 'state_digest', type: 'bytea', valueOf: (row) => row.stateDigest },
  { name: 'answered_fleet_ms', type: 'bigint', valueOf: (row) => row.answeredAt },
  { name: 'clock_offset_ms', type: 'bigint', valueOf: (row) => row.clockOffsetMs },
  { name: 'clock_error_ms', type: 'bigint', valueOf: (row) => row.clockErrorMs },
  { name: 'clock_sampled_fleet_ms', type: 'bigint', valueOf: (row) => row.clockSampledAt },
  { name: 'is_clock_drifting', type: 'boolean', valueOf: (row) => row.isClockDrifting },
  { name: 'has_commands', type: 'boolean', valueOf: (row) => row.hasCommands },
  { name: 'awaits_results', type: 'boolean', valueOf: (row) => row.awaitsResults },
];

/** Rows are locked in id order: unordered batches deadlock. */
const LOCK = `
SELECT computer_live.*, computers.kind, computers.policy_id, computers.overrides::text AS overrides,
  (computer_status.status = 'revoked' OR certificates.revoked_at IS NOT NULL) AS is_revoked,
  (certificates.renews IS NOT NULL AND certificates.used_at IS NULL) AS is_first_use,
  policy_forest.epoch, policy_forest.counter
FROM unnest($1::uuid[], $2::text[]) AS input (computer_id, serial)
JOIN computer_live ON computer_live.computer_id = input.computer_id
JOIN computers ON computers.id = computer_live.computer_id
JOIN computer_status ON computer_status.computer_id = computer_live.computer_id
LEFT JOIN certificates ON certificates.serial = input.serial
LEFT JOIN policy_forest ON policy_forest.id = 1
ORDER BY computer_live.computer_id
FOR NO KEY UPDATE OF computer_live`;

/**
 * A second statement sees what was committed while the first waited for a lock, so the status is read here: a verdict
 * or a revocation that held the row is never overlooked. The primary key is the only index: every update is HOT.
 */
const STORE = `
UPDATE computer_live SET ${COLUMNS.map(({ name }) => `${name} = input.${name}`).join(', ')}
FROM unnest($1::uuid[], ${COLUMNS.map(({ type }, index) => `$${index + 2}::${type}[]`).join(', ')})
  AS input (computer_id, ${COLUMNS.map(({ name }) => name).join(', ')})
JOIN computer_status ON computer_status.computer_id = input.computer_id
JOIN computers ON computers.id = input.computer_id
WHERE computer_live.computer_id = input.computer_id AND computer_status.status <> 'revoked'
RETURNING computer_live.computer_id, computer_status.status,
  computer_status.goodbye_reason IS NOT NULL AS has_goodbye, computers.power_state = 'stopped' AS is_stopped`;

export interface HeartbeatRepository {
  /** Locks the rows of these computers, each named once, in id order. */
  lock(session: HotSession, who: readonly { computerId: string; serial: string }[]): Promise<LockedBatch>;
  /** Stores locked rows; a computer that is missing in the answer was revoked meanwhile and keeps its row. */
  store(session: HotSession, rows: readonly LiveRow[]): Promise<ReadonlyMap<string, StoredStanding>>;
}

export function createHeartbeatRepository(): HeartbeatRepository {
  return {
    async lock(session, who) {
      const values = [who.map(({ computerId }) => computerId), who.map(({ serial }) => serial)];
      const rows = await session.prepared<LockedRow>('heartbeat-lock', LOCK, values);
      const [first] = rows;
      if (first && (first.epoch === null || first.counter === null)) throw new Error('The policy forest has no row');
      return {
        generation: { epoch: first?.epoch ?? '', counter: Number(first?.counter ?? -1) },
        computers: new Map(rows.map((row) => [row.computer_id, toLocked(row)])),
      };
    },
    async store(session, rows) {
      const values = [rows.map(({ computerId }) => computerId), ...COLUMNS.map(({ valueOf }) => rows.map(valueOf))];
      const stored = await session.prepared<StandingRow>('heartbeat-store', STORE, values);
      return new Map(stored.map((row) => [row.computer_id, toStanding(row)]));
    },
  };
}

interface StandingRow {
  readonly computer_id: string;
  readonly status: Status;
  readonly has_goodbye: boolean;
  readonly is_stopped: boolean;
}

function toStanding({ status, has_goodbye: hasGoodbye, is_stopped: isStopped }: StandingRow): StoredStanding {
  return { status, hasGoodbye, isStopped };
}

function toLocked(row: LockedRow): LockedComputer {
  const live: LiveRow = {
    computerId: row.computer_id,
    lastSeenAt: toInstant(row.last_seen_fleet_ms),
    seenByAgentAt: toInstant(row.seen_by_agent_fleet_ms),
    seenByDialAt: toInstant(row.seen_by_dial_fleet_ms),
    contactDueAt: toInstant(row.contact_due_fleet_ms),
    confirmedIntervalMs: row.confirmed_interval_ms,
    deliveredIntervalMs: row.delivered_interval_ms,
    deliveredFingerprint: row.delivered_fingerprint?.toString('hex') ?? null,
    sequence: Number(row.sequence),
    reportId: row.report_id,
    reportDigest: row.report_digest,
    bootId: row.boot_id,
    instanceId: row.instance_id,
    tokenN: Number(row.token_n),
    appliedFingerprint: row.applied_fingerprint?.toString('hex') ?? null,
    pendingContacts: row.pending_contacts,
    stateDigest: row.state_digest,
    answeredAt: toInstant(row.answered_fleet_ms),
    clockOffsetMs: toInstant(row.clock_offset_ms),
    clockErrorMs: toInstant(row.clock_error_ms),
    clockSampledAt: toInstant(row.clock_sampled_fleet_ms),
    isClockDrifting: row.is_clock_drifting,
    hasCommands: row.has_commands,
    awaitsResults: row.awaits_results,
  };
  const subject = { kind: row.kind, policyId: row.policy_id, overrides: row.overrides };
  return { live, subject, isRevoked: row.is_revoked, isFirstUse: row.is_first_use };
}

function toInstant(text: string | null): FleetInstant | null {
  return text === null ? null : Number(text);
}

function toBytes(hex: string | null): Buffer | null {
  return hex === null ? null : Buffer.from(hex, 'hex');
}
