import { createHash } from 'node:crypto';

import { readCertificate } from '../certs/certificate-reader.js';
import { certificatesOf } from '../certs/pem.js';

/** Of a life: agents renew around its half, each at its own instant, so that a fleet enrolled at once does not renew at once. */
const EARLIEST_SHARE = 0.425;
const SPREAD_SHARE = 0.15;
/** As long as nothing was answered, an exchange is asked for so often. */
export const ASK_AGAIN_MS = 600_000;
const REFUSED_SHARE = 0.05;
const REFUSED_SHARE_OF_REST = 0.25;
const SHORTEST_REFUSED_MS = 60_000;

/** What a renewal needs to know of a certificate; instants in Unix milliseconds. */
export interface Life {
  readonly serial: string;
  readonly notBefore: number;
  readonly notAfter: number;
}

/** Of the leaf of a PEM chain. */
export function lifeOf(certificatePem: string): Life {
  const [leaf] = certificatesOf(certificatePem);
  if (!leaf) throw new Error('There is no certificate');
  const { serial, notBefore, notAfter } = readCertificate(leaf);
  return { serial, notBefore, notAfter };
}

/** When a certificate is to be renewed. The serial is random and stays: after a restart it is the same instant. */
export function renewalDueAt({ serial, notBefore, notAfter }: Life): number {
  const phase = createHash('sha256').update(`renewal ${serial}`).digest().readUInt32BE(0) / 2 ** 32;
  return Math.floor(notBefore + (notAfter - notBefore) * (EARLIEST_SHARE + SPREAD_SHARE * phase));
}

/**
 * How long a manager is left in peace that refused: a twentieth of the life, and less towards its end, so that some attempts
 * always remain. `now` by the manager's time; undefined where it said nothing yet.
 */
export function refusedPauseMs({ notBefore, notAfter }: Life, now: number | undefined): number {
  const usual = (notAfter - notBefore) * REFUSED_SHARE;
  const left = now === undefined ? usual : (notAfter - now) * REFUSED_SHARE_OF_REST;
  return Math.max(SHORTEST_REFUSED_MS, Math.min(usual, left));
}

/** Refusals that may be about the certificate that was shown: then the one before is tried, where there is one. */
const ABOUT_THE_CERTIFICATE: ReadonlySet<string> = new Set([
  'certificate-refused',
  'certificate-required',
  'computer-revoked',
  'clock-skew',
  'tls-refused',
]);

export function isAboutCertificate(code: string): boolean {
  return ABOUT_THE_CERTIFICATE.has(code);
}
