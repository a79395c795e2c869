import type { Severity } from '../../policies/status-model.js';

/** Which alerts go to which channel: an alert goes by every route that matches it. */
export interface Routing {
  readonly id: string;
  readonly name: string;
  readonly channelId: string;
  /** This severity and worse; null: every one. */
  readonly minSeverity: Severity | null;
  /** Null: every type. */
  readonly types: readonly string[] | null;
  /** Computers of this policy and of all below it; null: every one, and alerts of no computer. */
  readonly policyId: string | null;
  /** `key` or `key=value`. */
  readonly label: string | null;
  readonly groupSeconds: number;
  /** Null: no reminders. */
  readonly repeatMinutes: number | null;
  readonly enabled: boolean;
  readonly revision: number;
  readonly createdAt: Date;
  readonly createdBy: string;
  readonly updatedAt: Date;
}
