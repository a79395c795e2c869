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
  /** The serial that it was asked for with, and which counts until this one is used; absent of an enrollment's. */
  readonly renews?: string;
}

export type RevocationReason = 'computer-revoked' | 'computer-removed' | 'superseded';

/** A key that a computer wants, or has, a certificate for. */
export interface ComputerKey {
  readonly computerId: string;
  /** Lower-case hex SHA-256 of the public key. */
  readonly keyDigest: string;
}

export interface StoredCertificate extends ComputerKey {
  readonly serial: string;
  readonly pem: string;
  /** Unix milliseconds. */
  readonly notBefore: number;
  readonly notAfter: number;
}

/** A certificate that is in use now, and those that count no more since. */
export interface Replacement {
  readonly computerId: string;
  readonly serial: string;
  readonly notAfter: number;
  readonly superseded: readonly string[];
}

/** Issued certificates; the one writer of their table. */
export interface CertificateRepository {
  insert(sql: Sql, certificate: NewCertificate): Promise<void>;
  /** One statement for any number; none for none. */
  insertAll(sql: Sql, certificates: readonly NewCertificate[]): Promise<void>;
  /** Of these computers and keys what is not revoked, the newest last. */
  findByKeys(sql: Sql, keys: readonly ComputerKey[]): Promise<readonly StoredCertificate[]>;
  /**
   * Of renewals that a report came by for the first time: from now on they count alone. Whatever of their computers was
   * issued before them is revoked. Reports by the serials given are under the locks of their live rows.
   */
  use(sql: Sql, serials: readonly string[], at: number): Promise<readonly Replacement[]>;
  /** Revokes what is valid of a computer, but for one serial; reports by these serials are refused from the commit on. */
  revokeOf(
    sql: Sql,
    computerId: string,
    revocation: { readonly reason: RevocationReason; readonly at: number; readonly except?: string },
  ): Promise<void>;
}

const INSERT = `
INSERT INTO certificates (serial, computer_id, key_digest, pem, not_before, not_after, issued_at, renews)
SELECT input.* FROM unnest($1::text[], $2::uuid[], $3::bytea[], $4::text[], $5::timestamptz[], $6::timestamptz[],
  $7::timestamptz[], $8::text[]) AS input (serial, computer_id, key_digest, pem, not_before, not_after, issued_at, renews)`;

const FIND = `
SELECT certificates.serial, certificates.computer_id, certificates.key_digest, certificates.pem,
  certificates.not_before, certificates.not_after
FROM unnest($1::uuid[], $2::bytea[]) AS input (computer_id, key_digest)
JOIN certificates ON certificates.computer_id = input.computer_id AND certificates.key_digest = input.key_digest
WHERE certificates.revoked_at IS NULL
ORDER BY certificates.issued_at, certificates.serial`;

const USE = `
WITH used AS (
  UPDATE certificates SET used_at = $2
  WHERE certificates.serial = ANY($1::text[]) AND certificates.used_at IS NULL
  RETURNING certificates.serial, certificates.computer_id, certificates.issued_at, certificates.not_after
), superseded AS (
  UPDATE certificates SET revoked_at = $2, revoked_reason = 'superseded'
  FROM used
  WHERE certificates.computer_id = used.computer_id AND certificates.serial <> used.serial
    AND certificates.revoked_at IS NULL AND certificates.issued_at <= used.issued_at
  RETURNING certificates.computer_id, certificates.serial
)
SELECT used.computer_id, used.serial, used.not_after, array_remove(array_agg(superseded.serial ORDER BY superseded.serial), NULL) AS superseded
FROM used LEFT JOIN superseded ON superseded.computer_id = used.computer_id
GROUP BY used.computer_id, used.serial, used.not_after ORDER BY used.computer_id, used.serial`;

const REVOKE = `
UPDATE certificates SET revoked_at = $2, revoked_reason = $3
WHERE certificates.computer_id = $1 AND certificates.revoked_at IS NULL AND certificates.serial IS DISTINCT FROM $4`;

interface StoredRow {
  readonly serial: string;
  readonly computer_id: string;
  readonly key_digest: Buffer;
  readonly pem: string;
  readonly not_before: Date;
  readonly not_after: Date;
}

interface ReplacementRow {
  readonly computer_id: string;
  readonly serial: string;
  readonly not_after: Date;
  readonly superseded: readonly string[];
}

export function createCertificateRepository(): CertificateRepository {
  return {
    insert: (sql, certificate) => insertAll(sql, [certificate]),
    insertAll,
    async findByKeys(sql, keys) {
      if (keys.length === 0) return [];
      const digests = keys.map(({ keyDigest }) => Buffer.from(keyDigest, 'hex'));
      const rows = await sql.query<StoredRow>(FIND, [keys.map(({ computerId }) => computerId), digests]);
      return rows.map(toStored);
    },
    async use(sql, serials, at) {
      if (serials.length === 0) return [];
      return (await sql.query<ReplacementRow>(USE, [serials, toRfc3339(at)])).map(toReplacement);
    },
    async revokeOf(sql, computerId, { reason, at, except }) {
      await sql.query(REVOKE, [computerId, toRfc3339(at), reason, except ?? null]);
    },
  };
}

async function insertAll(sql: Sql, certificates: readonly NewCertificate[]): Promise<void> {
  if (certificates.length === 0) return;
  const dates = (['notBefore', 'notAfter', 'issuedAt'] as const).map((name) =>
    certificates.map((certificate) => toRfc3339(certificate[name])),
  );
  await sql.query(INSERT, [
    certificates.map(({ serial }) => serial),
    certificates.map(({ computerId }) => computerId),
    certificates.map(({ keyDigest }) => Buffer.from(keyDigest, 'hex')),
    certificates.map(({ pem }) => pem),
    ...dates,
    certificates.map(({ renews }) => renews ?? null),
  ]);
}

function toStored(row: StoredRow): StoredCertificate {
  return {
    serial: row.serial,
    computerId: row.computer_id,
    keyDigest: row.key_digest.toString('hex'),
    pem: row.pem,
    notBefore: row.not_before.getTime(),
    notAfter: row.not_after.getTime(),
  };
}

function toReplacement({ computer_id, serial, not_after, superseded }: ReplacementRow): Replacement {
  return { computerId: computer_id, serial, notAfter: not_after.getTime(), superseded };
}
