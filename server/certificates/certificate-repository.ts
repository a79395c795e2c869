import { toRfc3339 } from '../../lib/clock.js';
import type { Sql } from '../database/sql.js';

export interface NewCertificate {
  /** Lower-case hex. */
  readonly serial: string;
  readonly computerId: string;
  /** Lower-case hex SHA-256 of the public key. */
  readonly keyDigest: string;
  readonly pem: string;
  /** Unix milliseconds. */
  readonly notBefore: number;
  readonly notAfter: number;
  readonly issuedAt: number;
}

export type RevocationReason = 'computer-revoked' | 'computer-removed' | 'superseded';

/** Issued certificates; the one writer of their table. */
export interface CertificateRepository {
  insert(sql: Sql, certificate: NewCertificate): Promise<void>;
  /** Revokes what is valid of a computer, but for one serial; reports by these serials are refused from the commit on. */
  revokeOf(
    sql: Sql,
    computerId: string,
    revocation: { readonly reason: RevocationReason; readonly at: number; readonly except?: string },
  ): Promise<void>;
}

const INSERT = `
INSERT INTO certificates (serial, computer_id, key_digest, pem, not_before, not_after, issued_at)
VALUES ($1, $2, $3, $4, $5, $6, $7)`;

const REVOKE = `
UPDATE certificates SET revoked_at = $2, revoked_reason = $3
WHERE certificates.computer_id = $1 AND certificates.revoked_at IS NULL AND certificates.serial IS DISTINCT FROM $4`;

export function createCertificateRepository(): CertificateRepository {
  return {
    async insert(sql, { serial, computerId, keyDigest, pem, notBefore, notAfter, issuedAt }) {
      const dates = [notBefore, notAfter, issuedAt].map(toRfc3339);
      await sql.query(INSERT, [serial, computerId, Buffer.from(keyDigest, 'hex'), pem, ...dates]);
    },
    async revokeOf(sql, computerId, { reason, at, except }) {
      await sql.query(REVOKE, [computerId, toRfc3339(at), reason, except ?? null]);
    },
  };
}
