import { createHash } from 'node:crypto';

/**
 * An enrollment token: `wbt_<secret>_<fingerprint>`. The secret is 32 random bytes in hex; the fingerprint is the hex
 * SHA-256 of the root certificate's DER, so that the first connection cannot be intercepted.
 */
export interface EnrollmentToken {
  readonly secret: string;
  readonly caFingerprint: string;
}

const TOKEN = /^wbt_([0-9a-f]{64})_([0-9a-f]{64})$/;

export function formatEnrollmentToken({ secret, caFingerprint }: EnrollmentToken): string {
  return `wbt_${secret}_${caFingerprint}`;
}

export function parseEnrollmentToken(text: string): EnrollmentToken | undefined {
  const match = TOKEN.exec(text.trim());
  const [, secret, caFingerprint] = match ?? [];
  return secret && caFingerprint ? { secret, caFingerprint } : undefined;
}

/** What the manager stores of a token: SHA-256 of its secret (32 random bytes need no slow hash). */
export function hashEnrollmentSecret(secret: string): Buffer {
  return createHash('sha256').update(secret, 'latin1').digest();
}
