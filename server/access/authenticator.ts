import type { Owed } from './access-rules.js';
import type { Actor } from './actor.js';

/** Who a credential belongs to. */
export interface Identity extends Omit<Actor, 'sourceAddress'> {
  /** The policy that the role is bound to, with all below it; null: the whole forest. */
  readonly policyId: string | null;
  /** Present when a session's cookie authenticated the call. */
  readonly session?: { readonly id: string; readonly csrfHash: Buffer } & SessionStanding;
}

export interface SessionStanding {
  /** All that proves the user was given a short while ago. */
  readonly isProven: boolean;
  readonly hasSecondFactor: boolean;
  /** What he has to do before anything else. */
  readonly owes?: Owed;
}

/** Tells whose credential it is; undefined for one that is unknown, ended or expired. */
export interface Authenticator {
  bySessionSecret(secret: string): Promise<Identity | undefined>;
  byApiKey(key: string, sourceAddress: string | null): Promise<Identity | undefined>;
}
