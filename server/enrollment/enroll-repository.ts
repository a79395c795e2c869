import { toRfc3339 } from '../../lib/clock.js';
import type { Sql } from '../database/sql.js';
import type { FleetInstant } from '../fleet-clock/fleet-clock.js';
import { createFactsRepository, type EnrollmentFacts } from '../heartbeats/facts-repository.js';
import type { ForestGeneration, SettingsSubject } from '../policies/settings-cache.js';
import type { StoredToken } from './enroll-rules.js';

/** A computer as an enrollment answers it. */
export interface EnrolledComputer {
  readonly id: string;
  readonly name: string;
  readonly subject: SettingsSubject;
  readonly policyName: string;
  readonly isRevoked: boolean;
}

/** What this token and key enrolled before. */
export interface StoredEnrollment {
  readonly computerId: string;
  readonly certificatePem: string;
  readonly isRevoked: boolean;
}

export interface NewComputer {
  readonly id: string;
  readonly name: string;
  readonly token: StoredToken;
  readonly at: { readonly wall: number; readonly fleet: FleetInstant };
}

/** The rows of an enrollment; every call is inside its one transaction, the token's row first. */
export interface EnrollRepository {
  /** Takes the token's row lock: parallel uses stand in line. */
  lockToken(sql: Sql, tokenHash: Buffer): Promise<StoredToken | undefined>;
  findFormer(sql: Sql, tokenId: string, keyDigest: string): Promise<StoredEnrollment | undefined>;
  insertComputer(sql: Sql, computer: NewComputer): Promise<void>;
  /** Locks the live row of a record made beforehand; false where there is none. */
  lockComputer(sql: Sql, computerId: string): Promise<boolean>;
  /** Whatever was known of the ways to the agent before is void: another one takes the record. */
  markEnrolled(sql: Sql, computerId: string, at: FleetInstant): Promise<void>;
  /** Where it enrolled from is where it may be dialled before its first report. */
  storeFacts(sql: Sql, enrollment: EnrollmentFacts): Promise<void>;
  getComputer(
    sql: Sql,
    computerId: string,
  ): Promise<{ computer: EnrolledComputer; generation: ForestGeneration } | undefined>;
  /** Uses the token up by one and remembers who came by it. */
  insertEnrollment(
    sql: Sql,
    enrollment: { tokenId: string; keyDigest: string; computerId: string; serial: string; at: number },
  ): Promise<void>;
}

interface TokenRow {
  readonly id: string;
  readonly policy_id: string;
  readonly kind: 'agent' | 'appliance';
  readonly labels: unknown;
  readonly uses: number;
  readonly used: number;
  readonly expires_at: Date;
  readonly rate_per_second: number | null;
  readonly computer_id: string | null;
}

interface ComputerRow {
  readonly id: string;
  readonly name: string;
  readonly kind: 'agent' | 'appliance';
  readonly policy_id: string;
  readonly overrides: string | null;
  readonly policy_name: string;
  readonly is_revoked: boolean;
  readonly epoch: string;
  readonly counter: string | number;
}

const LOCK_TOKEN =
  'SELECT enrollment_tokens.* FROM enrollment_tokens WHERE enrollment_tokens.token_hash = $1 FOR UPDATE';

const FIND_FORMER = `
SELECT enrollments.computer_id, certificates.pem,
  (computers.id IS NULL OR computer_status.status = 'revoked' OR certificates.revoked_at IS NOT NULL) AS is_revoked
FROM enrollments
JOIN certificates ON certificates.serial = enrollments.certificate_serial
LEFT JOIN computers ON computers.id = enrollments.computer_id
LEFT JOIN computer_status ON computer_status.computer_id = enrollments.computer_id
WHERE enrollments.token_id = $1 AND enrollments.key_digest = $2`;

const INSERT_COMPUTER = `
INSERT INTO computers (id, name, kind, policy_id, labels, revision, verdict_rules_fleet_ms, created_fleet_ms, enrolled_fleet_ms)
VALUES ($1, $2, $3, $4, $5::jsonb, 1, $6, $6, $6)`;

const INSERT_REVISION = `
INSERT INTO computer_revisions (computer_id, revision, changed_at, changed_fleet_ms, actor_id, actor_name, comment,
  name, policy_id, labels)
VALUES ($1, 1, $2, $3, $4, $5, 'Enrolled', $6, $7, $8::jsonb)`;

const INSERT_STATUS = `
INSERT INTO computer_status (computer_id, status, reason, since_fleet_ms) VALUES ($1, 'pending', 'never-seen', $2)`;

const GET_COMPUTER = `
SELECT computers.id, computers.name, computers.kind, computers.policy_id, computers.overrides::text AS overrides,
  policies.name AS policy_name, computer_status.status = 'revoked' AS is_revoked,
  policy_forest.epoch, policy_forest.counter
FROM computers
JOIN policies ON policies.id = computers.policy_id
JOIN computer_status ON computer_status.computer_id = computers.id
JOIN policy_forest ON policy_forest.id = 1
WHERE computers.id = $1`;

/** Without its digest the next report stores its state whole. */
const FORGET_WAYS = `
UPDATE computer_live SET state_digest = NULL, seen_by_agent_fleet_ms = NULL, seen_by_dial_fleet_ms = NULL
WHERE computer_live.computer_id = $1`;

export function createEnrollRepository(): EnrollRepository {
  const facts = createFactsRepository();
  return {
    async lockToken(sql, tokenHash) {
      const [row] = await sql.query<TokenRow>(LOCK_TOKEN, [tokenHash]);
      return row && toToken(row);
    },
    async findFormer(sql, tokenId, keyDigest) {
      const [row] = await sql.query<{ computer_id: string; pem: string; is_revoked: boolean }>(FIND_FORMER, [
        tokenId,
        Buffer.from(keyDigest, 'hex'),
      ]);
      return row && { computerId: row.computer_id, certificatePem: row.pem, isRevoked: row.is_revoked };
    },
    insertComputer,
    async lockComputer(sql, computerId) {
      const live = await sql.query(
        'SELECT computer_live.computer_id FROM computer_live WHERE computer_live.computer_id = $1 FOR UPDATE',
        [computerId],
      );
      return live.length > 0;
    },
    async markEnrolled(sql, computerId, at) {
      await sql.query('UPDATE computers SET enrolled_fleet_ms = $2 WHERE computers.id = $1', [computerId, at]);
      await sql.query(FORGET_WAYS, [computerId]);
      for (const table of ['computer_contacts', 'computer_dials', 'computer_probes'])
        await sql.query(`DELETE FROM ${table} WHERE computer_id = $1`, [computerId]);
    },
    storeFacts: (sql, enrollment) => facts.storeEnrollment(sql, enrollment),
    async getComputer(sql, computerId) {
      const [row] = await sql.query<ComputerRow>(GET_COMPUTER, [computerId]);
      return row && toComputer(row);
    },
    async insertEnrollment(sql, { tokenId, keyDigest, computerId, serial, at }) {
      await sql.query(
        `INSERT INTO enrollments (token_id, key_digest, computer_id, certificate_serial, enrolled_at)
         VALUES ($1, $2, $3, $4, $5)`,
        [tokenId, Buffer.from(keyDigest, 'hex'), computerId, serial, toRfc3339(at)],
      );
      await sql.query('UPDATE enrollment_tokens SET used = used + 1 WHERE enrollment_tokens.id = $1', [tokenId]);
    },
  };
}

async function insertComputer(sql: Sql, { id, name, token, at }: NewComputer): Promise<void> {
  const labels = JSON.stringify(token.labels);
  await sql.query(INSERT_COMPUTER, [id, name, token.kind, token.policyId, labels, at.fleet]);
  await sql.query('INSERT INTO computer_live (computer_id) VALUES ($1)', [id]);
  await sql.query(INSERT_STATUS, [id, at.fleet]);
  const actor = [`enrollment-token/${token.id}`, 'enrollment token'];
  await sql.query(INSERT_REVISION, [id, toRfc3339(at.wall), at.fleet, ...actor, name, token.policyId, labels]);
}

function toToken(row: TokenRow): StoredToken {
  return {
    id: row.id,
    policyId: row.policy_id,
    kind: row.kind,
    labels: row.labels,
    uses: row.uses,
    used: row.used,
    expiresAt: row.expires_at.getTime(),
    ratePerSecond: row.rate_per_second,
    computerId: row.computer_id,
  };
}

function toComputer(row: ComputerRow): { computer: EnrolledComputer; generation: ForestGeneration } {
  const subject = { kind: row.kind, policyId: row.policy_id, overrides: row.overrides };
  const { id, name, policy_name: policyName, is_revoked: isRevoked, epoch } = row;
  return {
    computer: { id, name, subject, policyName, isRevoked },
    generation: { epoch, counter: Number(row.counter) },
  };
}
