/** The refusals that only a new enrollment ends: the manager does not want this identity any more. */
const LOST_IDENTITY: ReadonlySet<string> = new Set(['computer-removed', 'computer-revoked', 'certificate-refused']);

export function isLostIdentity(code: string): boolean {
  return LOST_IDENTITY.has(code);
}

export interface EnrollmentFacts {
  /** What the directory was enrolled with; undefined where an older agent did not note it. */
  readonly enrolledWith: { readonly managerUrl: string; readonly tokenDigest: string } | undefined;
  readonly managerUrls: readonly string[];
  /** What the operator asks for now. */
  readonly asked: { readonly managerUrl: string; readonly tokenDigest: string };
  /** The code of the last answer, where it refused the identity. */
  readonly refusal: string | undefined;
  readonly isExpired: boolean;
}

/**
 * What `enroll` means on an enrolled directory. `known`: it is what was done already. `anew`: the identity is lost, a new
 * one takes its place. `other`: it would replace an identity that works, so nothing is done.
 */
export type EnrollmentDecision = 'known' | 'anew' | 'other';

export function decideEnrollment(facts: EnrollmentFacts): EnrollmentDecision {
  const { enrolledWith, managerUrls, asked, refusal, isExpired } = facts;
  if (isExpired || (refusal !== undefined && isLostIdentity(refusal))) return 'anew';
  const isManager = asked.managerUrl === enrolledWith?.managerUrl || managerUrls.includes(asked.managerUrl);
  const isToken = enrolledWith === undefined || asked.tokenDigest === enrolledWith.tokenDigest;
  return isManager && isToken ? 'known' : 'other';
}
