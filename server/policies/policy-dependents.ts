import type { Caller, EditInstant } from './forest-edit.js';
import type { Sql } from '../database/sql.js';
import type { FleetInstant } from '../fleet-clock/fleet-clock.js';

export interface DependentsMove {
  readonly from: string;
  readonly to: string;
  readonly at: EditInstant;
  readonly caller: Caller;
  /** Since when what the second policy judges by counts for what the first one held. */
  readonly rulesSince: FleetInstant;
}

/** What another feature attaches to policies (computers, enrollment tokens); it alone writes its tables. */
export interface PolicyDependents {
  /** The member of the `in-use` problem that names them. */
  readonly noun: string;
  /** Locks, in id order, what others lock before they attach anything to the policy; called before its row is locked. */
  hold(sql: Sql, policyId: string): Promise<void>;
  /** Up to `limit` of what keeps the policy from being deleted. */
  namesOf(sql: Sql, policyId: string, limit: number): Promise<readonly { id: string; name: string }[]>;
  /** Attaches all of them to another policy, inside the edit that deletes the first. */
  reassign(sql: Sql, move: DependentsMove): Promise<void>;
  /** Removes what would not keep the policy but names it; called before a policy without dependents is deleted. */
  discard(sql: Sql, policyId: string): Promise<void>;
}
