import type { Role } from './actor.js';

export const SECOND_FACTOR_FOR = ['nobody', 'administrators', 'everyone'] as const;
export type SecondFactorFor = (typeof SECOND_FACTOR_FOR)[number];

/** What the configuration says of sessions and second factors. */
export interface AccessRules {
  /** A session ends after so long without a call … */
  readonly sessionIdleMs: number;
  /** … and in any case after so long. */
  readonly sessionLifetimeMs: number;
  /** Who has to set up a second factor before anything else. */
  readonly secondFactorFor: SecondFactorFor;
}

export const DEFAULT_ACCESS_RULES: AccessRules = {
  sessionIdleMs: 8 * 3_600_000,
  sessionLifetimeMs: 24 * 3_600_000,
  secondFactorFor: 'nobody',
};

/** A proof is recent for so long; whoever signs in proves himself. */
export const PROOF_LASTS_MS = 15 * 60_000;

/** What somebody has to do before anything else. */
export type Owed = 'password' | 'second-factor';

export interface Standing {
  readonly role: Role;
  readonly mustChangePassword: boolean;
  readonly hasSecondFactor: boolean;
}

/** The password first: who knows a given one must not set up a second factor of his own with it. */
export function owedBy(
  { role, mustChangePassword, hasSecondFactor }: Standing,
  demanded: SecondFactorFor,
): Owed | undefined {
  if (mustChangePassword) return 'password';
  if (hasSecondFactor || demanded === 'nobody') return undefined;
  return demanded === 'everyone' || role === 'administrator' ? 'second-factor' : undefined;
}
