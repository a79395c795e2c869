import type { PolicyLocks, PolicyNode } from '../../policies/resolve-settings.js';
import type { SettingOverrides } from '../../policies/setting-values.js';
import type { FleetInstant } from '../fleet-clock/fleet-clock.js';

/** A stored policy. `settings` are its own overrides; what counts is what the resolver makes of them. */
export interface Policy extends PolicyNode {
  readonly description: string;
  readonly builtIn: boolean;
  readonly revision: number;
  readonly createdAt: Date;
  readonly updatedAt: Date;
  /** The last edit, here or above, that changed what verdicts are judged by. */
  readonly rulesSince: FleetInstant;
}

/** The part of a policy that a revision keeps and a rollback restores. */
export interface PolicyContent {
  readonly name: string;
  readonly parentId: string | null;
  readonly settings: SettingOverrides;
  readonly locks: PolicyLocks;
}

export interface PolicyRevision extends PolicyContent {
  readonly revision: number;
  readonly changedAt: Date;
  readonly actorId: string;
  readonly actorName: string;
  readonly comment: string;
}

/** The name and the description of the policy that every manager begins with. */
export const BASE_POLICY = {
  name: 'Base Policy',
  description: 'Built in: holds the factory defaults as editable values.',
} as const;
