import { Problem } from '../../lib/problem.js';

/** A token's row as an enrollment finds it under its lock. */
export interface StoredToken {
  readonly id: string;
  readonly policyId: string;
  readonly kind: 'agent' | 'appliance';
  readonly labels: unknown;
  readonly uses: number;
  readonly used: number;
  /** Unix milliseconds. */
  readonly expiresAt: number;
  readonly ratePerSecond: number | null;
  /** The record made beforehand that this token takes. */
  readonly computerId: string | null;
}

/** What this very token and key enrolled before. */
export interface FormerEnrollment {
  readonly computerId: string;
  readonly isRevoked: boolean;
}

export type EnrollDecision =
  | { readonly kind: 'again' }
  | { readonly kind: 'new' }
  | { readonly kind: 'existing'; readonly computerId: string }
  | { readonly kind: 'refused'; readonly why: 'unknown' | 'expired' | 'used-up' | 'revoked' };

/** Whether a token may enroll a key at `now` (Unix milliseconds). The same token with the same key is always the same. */
export function decideEnrollment(
  token: StoredToken | undefined,
  former: FormerEnrollment | undefined,
  now: number,
): EnrollDecision {
  if (!token) return { kind: 'refused', why: 'unknown' };
  if (former) return former.isRevoked ? { kind: 'refused', why: 'revoked' } : { kind: 'again' };
  if (now >= token.expiresAt) return { kind: 'refused', why: 'expired' };
  if (token.used >= token.uses) return { kind: 'refused', why: 'used-up' };
  return token.computerId === null ? { kind: 'new' } : { kind: 'existing', computerId: token.computerId };
}

/** One answer for every refusal: nobody learns whether a token exists. */
export function tokenRefused(): Problem {
  return new Problem('enrollment-token-refused', { detail: 'Ask an administrator for a new enrollment token.' });
}

const CERTIFICATE_LIFETIME_KEY = 'certificateLifetimeDays';
const DEFAULT_LIFETIME_DAYS = 30;

/** The certificate lifetime of the effective settings, from the canonical JSON that the agent is sent. */
export function lifetimeDaysOf(settingsJson: string): number {
  const value = (JSON.parse(settingsJson) as Record<string, unknown>)[CERTIFICATE_LIFETIME_KEY];
  return typeof value === 'number' ? value : DEFAULT_LIFETIME_DAYS;
}
