import { toRfc3339 } from '../../lib/clock.js';
import type { Sql } from '../database/sql.js';
import type { SettingsSubject } from '../policies/settings-cache.js';
import type { Validity } from './renewal-rules.js';

/** The newest certificate of a computer. */
export interface LateCertificate extends Validity {
  readonly computerId: string;
  readonly serial: string;
  readonly subject: SettingsSubject;
}

/** A position in the order of `readLate`. */
export interface LatePosition {
  /** As PostgreSQL writes a timestamp. */
  readonly lateFrom: string;
  readonly serial: string;
}

/** An open alert about a computer's certificate. */
export interface OpenAlert {
  readonly computerId: string;
  /** Undefined where the computer or its certificates count no more. */
  readonly certificate: LateCertificate | undefined;
}

interface Page<Position> {
  readonly after: Position | null;
  readonly limit: number;
}

interface CertificateRow {
  readonly computer_id: string;
  readonly serial: string | null;
  readonly not_before: Date | null;
  readonly not_after: Date | null;
  readonly kind: 'agent' | 'appliance' | null;
  readonly policy_id: string | null;
  readonly overrides: string | null;
}

/** The expression of the index `certificates_late`. */
const LATE_FROM = `((certificates.not_after AT TIME ZONE 'UTC') - (certificates.not_after - certificates.not_before) / 3)`;

const SUBJECT = 'computers.kind, computers.policy_id, computers.overrides::text AS overrides';

const READ_LATE = `
SELECT certificates.computer_id, certificates.serial, certificates.not_before, certificates.not_after,
  ${LATE_FROM}::text AS late_from, ${SUBJECT}
FROM certificates
JOIN computers ON computers.id = certificates.computer_id
JOIN computer_status ON computer_status.computer_id = computers.id AND computer_status.status <> 'revoked'
WHERE certificates.revoked_at IS NULL AND ${LATE_FROM} <= $1::timestamptz AT TIME ZONE 'UTC'
  AND ($2::text IS NULL OR (${LATE_FROM}, certificates.serial) > ($2::timestamp, $3::text))
  AND NOT EXISTS (SELECT 1 FROM certificates AS newer WHERE newer.computer_id = certificates.computer_id
    AND newer.revoked_at IS NULL AND (newer.not_after, newer.serial) > (certificates.not_after, certificates.serial))
  AND NOT EXISTS (SELECT 1 FROM alerts WHERE alerts.type = 'certificate-expiring'
    AND alerts.subject = certificates.computer_id::text AND alerts.state IN ('raised', 'acknowledged'))
ORDER BY ${LATE_FROM}, certificates.serial LIMIT $4`;

const READ_OPEN = `
SELECT alerts.subject AS computer_id, newest.serial, newest.not_before, newest.not_after, ${SUBJECT}
FROM alerts
LEFT JOIN computers ON computers.id = alerts.computer_id
LEFT JOIN LATERAL (
  SELECT certificates.serial, certificates.not_before, certificates.not_after FROM certificates
  WHERE certificates.computer_id = computers.id AND certificates.revoked_at IS NULL
  ORDER BY certificates.not_after DESC, certificates.serial DESC LIMIT 1
) AS newest ON TRUE
WHERE alerts.type = 'certificate-expiring' AND alerts.state IN ('raised', 'acknowledged')
  AND alerts.computer_id IS NOT NULL AND ($1::text IS NULL OR alerts.subject > $1)
ORDER BY alerts.subject LIMIT $2`;

const DELETE_FORGOTTEN = `
DELETE FROM certificates WHERE certificates.serial IN (
  SELECT old.serial FROM certificates AS old WHERE old.not_after < $1 AND old.revoked_at IS NOT NULL
  ORDER BY old.not_after, old.serial LIMIT $2)
RETURNING certificates.serial`;

/** The newest certificates that were not renewed in time and have no open alert, the latest first to be due first. */
export async function readLate(
  sql: Sql,
  { now, after, limit }: Page<LatePosition> & { readonly now: number },
): Promise<readonly (LateCertificate & LatePosition)[]> {
  const rows = await sql.query<CertificateRow & { late_from: string }>(READ_LATE, [
    toRfc3339(now),
    after?.lateFrom ?? null,
    after?.serial ?? null,
    limit,
  ]);
  return rows.flatMap((row) => {
    const certificate = toCertificate(row);
    return certificate ? [{ ...certificate, lateFrom: row.late_from }] : [];
  });
}

/** The open alerts about computers, in the order of their subjects. */
export async function readOpen(sql: Sql, { after, limit }: Page<string>): Promise<readonly OpenAlert[]> {
  const rows = await sql.query<CertificateRow>(READ_OPEN, [after, limit]);
  return rows.map((row) => ({ computerId: row.computer_id, certificate: toCertificate(row) }));
}

/** Revoked ones that ended before; answers their serials. */
export async function deleteForgotten(
  sql: Sql,
  { before, limit }: { readonly before: number; readonly limit: number },
): Promise<readonly string[]> {
  const rows = await sql.query<{ serial: string }>(DELETE_FORGOTTEN, [toRfc3339(before), limit]);
  return rows.map(({ serial }) => serial);
}

function toCertificate(row: CertificateRow): LateCertificate | undefined {
  const { serial, not_before: notBefore, not_after: notAfter, kind, policy_id: policyId, overrides } = row;
  if (serial === null || !notBefore || !notAfter || kind === null || policyId === null) return undefined;
  return {
    computerId: row.computer_id,
    serial,
    notBefore: notBefore.getTime(),
    notAfter: notAfter.getTime(),
    subject: { kind, policyId, overrides },
  };
}
