import type { Problem } from '../../lib/problem.js';
import type { RefusalCode } from '../../policies/diagnosis-rules.js';

const BY_PROBLEM: Readonly<Partial<Record<Problem['code'], RefusalCode>>> = {
  'computer-revoked': 'revoked',
  'identity-mismatch': 'identity-mismatch',
  'too-many-requests': 'throttled',
  'request-invalid': 'report-refused',
  'content-type-unsupported': 'report-refused',
  'body-too-large': 'report-refused',
  'protocol-version-unsupported': 'report-refused',
};

/** What of the agent port's refusals is remembered; undefined for what is about the manager, or about no heartbeat. */
export function refusalCodeOf({ code, facts }: Problem): RefusalCode | undefined {
  if (code !== 'clock-skew') return BY_PROBLEM[code];
  return facts.members?.['reason'] === 'tls-not-yet-valid' ? 'tls-not-yet-valid' : 'tls-expired';
}
