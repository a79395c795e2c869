import type { PoolClient } from 'pg';
import type { CertificateAuthority } from '../../certs/certificate-authority.js';
import { readSigningRequest, type SigningRequest } from '../../certs/csr.js';
import type { VerifiedPeer } from '../../certs/verify-path.js';
import { toRfc3339 } from '../../lib/clock.js';
import { busy, createGate } from '../../lib/gate.js';
import { Problem } from '../../lib/problem.js';
import { createBoundedMap, createTokenBucket } from '../../lib/token-bucket.js';
import { PROTOCOL_VERSION } from '../../protocol/protocol-version.js';
import type { RenewRequest, RenewResponse } from '../../protocol/renewal-messages.js';
import type { DatabaseBreaker } from '../database/database-breaker.js';
import type { PoolUnitOfWork } from '../database/in-transaction.js';
import { sqlOfClient, type Sql } from '../database/sql.js';
import type { EventWriter } from '../events/event-writer.js';
import type { FleetClock } from '../fleet-clock/fleet-clock.js';
import type { CertificateDays, SettingsCache, SettingsSubject } from '../policies/settings-cache.js';
import type { CertificateRepository } from './certificate-repository.js';
import { isStillGood, refuseLateRenewal, type LateRefusal } from './renewal-rules.js';

export interface LateRenewalsDeps {
  readonly authority: Pick<CertificateAuthority, 'issueComputer' | 'intermediatePem' | 'rootPem'>;
  readonly inTransaction: PoolUnitOfWork;
  readonly certificates: Pick<CertificateRepository, 'insert' | 'findByKeys'>;
  readonly settings: Pick<SettingsCache, 'ensure' | 'settingsOf'>;
  readonly events: Pick<EventWriter, 'appendManagerEvents'>;
  readonly breaker: Pick<DatabaseBreaker, 'admits'>;
  readonly fleetClock: Pick<FleetClock, 'trustedTime' | 'monotonic' | 'fleet'>;
}

/** Renewal of what has expired: for the same key, within the days that the computer's policy gives. */
export interface LateRenewals {
  /**
   * `peer` is proven by its signatures alone; nothing but its end is wrong. Asked again with the same key it answers the same
   * certificate. Throws `renewal-refused`, `computer-revoked`, `csr-invalid`, `too-many-requests` or `unavailable`.
   */
  renew(peer: VerifiedPeer, request: Pick<RenewRequest, 'csr'>): Promise<RenewResponse>;
}

/** A lost answer is asked for again; whoever wants more is a nuisance. */
const BURST = 10;
const PER_SECOND = 1 / 30;
const MOST_COMPUTERS = 10_000;
const AWAY_RETRY_SECONDS = 2;
const ATTEMPTS = 3;
/** A transaction may need a second connection for newer settings: all of a pool must never be renewing. */
const GATE = {
  width: 2,
  length: 256,
  refusal: busy('Too many renewals at once.'),
};

interface Asked {
  readonly peer: VerifiedPeer;
  readonly csr: SigningRequest;
}

export function createLateRenewals(deps: LateRenewalsDeps): LateRenewals {
  const buckets = createBoundedMap(MOST_COMPUTERS, () => createTokenBucket(PER_SECOND, BURST));
  const gate = createGate(GATE);
  return {
    async renew(peer, request) {
      const now = deps.fleetClock.monotonic();
      const bucket = buckets(peer.id);
      const waitMs = bucket.waitMs(now);
      const retryAfterSeconds = Math.ceil(waitMs / 1000);
      if (waitMs > 0) throw new Problem('too-many-requests', { detail: 'Renewals come too fast.', retryAfterSeconds });
      bucket.take(now);
      if (!deps.breaker.admits())
        throw new Problem('unavailable', {
          detail: 'The database is not available.',
          retryAfterSeconds: AWAY_RETRY_SECONDS,
        });
      const asked = { peer, csr: readSigningRequest(request.csr) };
      const work = (client: PoolClient) => renewIn(deps, sqlOfClient(client), asked);
      const certificate = await gate(() => deps.inTransaction(work, { idempotent: true, attempts: ATTEMPTS }));
      const { authority, fleetClock } = deps;
      return {
        protocolVersion: PROTOCOL_VERSION,
        computerId: peer.id,
        certificate,
        chain: [authority.intermediatePem, authority.rootPem],
        managerTime: Math.max(0, Math.round(fleetClock.trustedTime())),
      };
    },
  };
}

/** Answers the PEM. */
async function renewIn(deps: LateRenewalsDeps, sql: Sql, { peer, csr }: Asked): Promise<string> {
  const { authority, certificates, fleetClock } = deps;
  const now = fleetClock.trustedTime();
  const computerId = peer.id;
  const { keyDigest, spkiDer } = csr;
  const record = await readRecord(deps, sql, peer);
  const renewAfterExpiryDays = record?.days.renewAfterExpiry ?? 0;
  const refusal = refuseLateRenewal({
    peer,
    keyDigest,
    record: record && { isRevoked: record.isRevoked, renewAfterExpiryDays },
    now,
  });
  if (!record || refusal) throw toProblem(refusal ?? 'unknown', renewAfterExpiryDays);
  const stored = await certificates.findByKeys(sql, [{ computerId, keyDigest }]);
  const known = stored.findLast((one) => isStillGood(one, now));
  if (known) return known.pem;
  const issued = authority.issueComputer({ computerId, spkiDer, lifetimeDays: record.days.lifetime });
  await certificates.insert(sql, { ...issued, computerId, keyDigest, issuedAt: now, renews: peer.serial });
  await deps.events.appendManagerEvents(sql, [
    {
      computerId,
      at: Math.floor(fleetClock.fleet()),
      kind: 'certificate-renewed-late',
      severity: 'low',
      message: 'A certificate that had expired was renewed with the same key',
      data: { expired: peer.serial, expiredAt: toRfc3339(peer.notAfter), serial: issued.serial },
    },
  ]);
  return issued.pem;
}

interface Recorded {
  readonly isRevoked: boolean;
  readonly days: CertificateDays;
}

interface RecordRow extends SettingsSubject {
  readonly is_revoked: boolean;
  readonly epoch: string;
  readonly counter: string;
}

/** Renewals of one computer stand in line, as its reports do. */
const LOCK = 'SELECT computer_live.computer_id FROM computer_live WHERE computer_live.computer_id = $1 FOR UPDATE';

const READ = `
SELECT computers.kind, computers.policy_id AS "policyId", computers.overrides::text AS overrides,
  (computer_status.status = 'revoked' OR certificates.revoked_at IS NOT NULL) AS is_revoked,
  policy_forest.epoch, policy_forest.counter
FROM computers
JOIN computer_status ON computer_status.computer_id = computers.id
JOIN certificates ON certificates.serial = $2 AND certificates.computer_id = computers.id
JOIN policy_forest ON policy_forest.id = 1
WHERE computers.id = $1`;

async function readRecord(
  { settings }: LateRenewalsDeps,
  sql: Sql,
  { id, serial }: VerifiedPeer,
): Promise<Recorded | undefined> {
  await sql.query(LOCK, [id]);
  const [row] = await sql.query<RecordRow>(READ, [id, serial]);
  if (!row) return undefined;
  await settings.ensure({ epoch: row.epoch, counter: Number(row.counter) });
  return { isRevoked: row.is_revoked, days: settings.settingsOf(row).certificateDays };
}

const DETAILS: Readonly<Record<Exclude<LateRefusal, 'revoked' | 'too-late'>, string>> = {
  'not-expired': 'The certificate has not expired: carry the request in a report.',
  'another-key': 'An expired certificate is renewed for its own key alone.',
  unknown: 'The manager knows nothing of this certificate: enroll the computer again.',
};

function toProblem(refusal: LateRefusal, days: number): Problem {
  if (refusal === 'revoked')
    return new Problem('computer-revoked', { detail: 'The certificate of this computer was revoked.' });
  if (refusal !== 'too-late') return new Problem('renewal-refused', { detail: DETAILS[refusal] });
  const detail = `It expired more than ${days} days ago (renewAfterExpiryDays): enroll the computer again.`;
  return new Problem('renewal-refused', { detail });
}
