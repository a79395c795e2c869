import type { VerifiedPeer } from '../../certs/verify-path.js';

const DAY_MS = 86_400_000;
/** Of a life, from its end: whoever has so little left is late, for agents renew at its half. */
const LATE_SHARE = 3;

/** Unix milliseconds. */
export interface Validity {
  readonly notBefore: number;
  readonly notAfter: number;
}

/** When a certificate that was not renewed is late: two thirds of its life. The index `certificates_late` is over the same. */
export function lateFrom({ notBefore, notAfter }: Validity): number {
  return notAfter - (notAfter - notBefore) / LATE_SHARE;
}

/** Asked for again with the same key, a certificate that has some life before it is the answer. */
export function isStillGood(certificate: Validity, now: number): boolean {
  return now < lateFrom(certificate);
}

/**
 * From when on a certificate that was not renewed is alerted: so many days before its end, and never while the agent may be
 * about to renew it, however many they are.
 */
export function alertFrom(certificate: Validity, alertDays: number): number {
  return Math.max(certificate.notAfter - alertDays * DAY_MS, lateFrom(certificate));
}

/** What is known of the bearer of an expired certificate. */
export interface LateFacts {
  /** Proven by its signatures. */
  readonly peer: Pick<VerifiedPeer, 'publicKeyDigest' | 'notAfter'>;
  /** Of the signing request. */
  readonly keyDigest: string;
  /** By the manager's records; undefined where they know nothing of its computer or serial. */
  readonly record: { readonly isRevoked: boolean; readonly renewAfterExpiryDays: number } | undefined;
  /** Trusted time, Unix milliseconds. */
  readonly now: number;
}

export type LateRefusal = 'not-expired' | 'another-key' | 'unknown' | 'revoked' | 'too-late';

/** Why a certificate that has expired is not renewed; undefined where it is. */
export function refuseLateRenewal({ peer, keyDigest, record, now }: LateFacts): LateRefusal | undefined {
  if (now <= peer.notAfter) return 'not-expired';
  if (keyDigest !== peer.publicKeyDigest) return 'another-key';
  if (!record) return 'unknown';
  if (record.isRevoked) return 'revoked';
  return now > peer.notAfter + record.renewAfterExpiryDays * DAY_MS ? 'too-late' : undefined;
}
