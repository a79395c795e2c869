import { createHash, createHmac } from 'node:crypto';
import type { Random } from '../../lib/random.js';

const SECRET_BYTES = 32;

/** A new session's secret: what the cookie carries. */
export function newSessionSecret(random: Random): string {
  return random.bytes(SECRET_BYTES).toString('base64url');
}

/** The CSRF token follows from the secret, so that whoever holds the cookie can be told it again. */
export function csrfTokenOf(secret: string): string {
  return createHmac('sha256', secret).update('wardbeat csrf').digest('base64url');
}

/** What is stored of a secret or a token: 32 random bytes need no slow hash. */
export function hashSecret(secret: string): Buffer {
  return createHash('sha256').update(secret, 'utf8').digest();
}
