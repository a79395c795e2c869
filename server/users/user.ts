import type { Role } from '../access/actor.js';

export interface User {
  readonly id: string;
  readonly name: string;
  readonly role: Role;
  /** The policy that the role is bound to, with all below it; null: the whole forest. */
  readonly policyId: string | null;
  readonly passwordHash: string;
  /** The password was given to him: he has to choose his own before anything else. */
  readonly mustChangePassword: boolean;
  /** He can neither sign in nor go on. */
  readonly disabled: boolean;
  readonly hasSecondFactor: boolean;
  readonly lastSignedInAt: Date | null;
  readonly createdAt: Date;
  readonly passwordChangedAt: Date;
  /** Changes with every change of the row. */
  readonly revision: number;
}

/** The name of the user that the first start makes. */
export const FIRST_USER_NAME = 'admin';
