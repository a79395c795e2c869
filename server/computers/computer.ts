import type { ComputerKind, SettingOverrides } from '../../policies/setting-values.js';
import type { PowerState } from '../../policies/status-model.js';
import type { FleetInstant } from '../fleet-clock/fleet-clock.js';

export type Labels = Readonly<Record<string, string>>;

/** The record of a managed machine: what operators decide about it. What it reports is elsewhere. */
export interface Computer {
  readonly id: string;
  readonly name: string;
  readonly kind: ComputerKind;
  /** `host[:port]` where its listener is dialled; null where nobody gave one. */
  readonly address: string | null;
  readonly policyId: string;
  readonly labels: Labels;
  /** Null when there are none. */
  readonly overrides: SettingOverrides | null;
  readonly revision: number;
  readonly power: Power;
  /** The last move or edit of overrides that changed what this computer is judged by. */
  readonly rulesSince: FleetInstant;
  readonly createdAt: FleetInstant;
  /** Null for a record made beforehand. */
  readonly enrolledAt: FleetInstant | null;
}

export interface Power {
  readonly state: PowerState;
  /** Who said so. */
  readonly source: string | null;
  /** For `running` and `unknown` the end of the last stop, for `stopped` its begin; null where there was none. */
  readonly since: FleetInstant | null;
  readonly expiresAt: FleetInstant | null;
}
