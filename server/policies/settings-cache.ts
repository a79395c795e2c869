import type { ClockLimits } from '../../policies/clock-rules.js';
import type { FleetInstant } from '../fleet-clock/fleet-clock.js';

/** (restore epoch, counter) of the forest; counters compare within one epoch. */
export interface ForestGeneration {
  readonly epoch: string;
  readonly counter: number;
}

/** What verdicts are judged by, from the effective settings. */
export interface VerdictRules {
  readonly missedAllowed: number | 'unlimited';
  readonly graceMs: number;
  readonly offlineAlertForStoppedVm: boolean;
  readonly goodbyeToleranceMs: number;
}

/** How long certificates live, how long after that they may be renewed, and how long before it is alerted. */
export interface CertificateDays {
  readonly lifetime: number;
  readonly renewAfterExpiry: number;
  readonly expiryAlert: number;
}

export interface ComputerSettings {
  /** The canonical JSON sent to the agent and its fingerprint (lower hex SHA-256). */
  readonly json: string;
  readonly fingerprint: string;
  readonly intervalMs: number;
  readonly verdictRules: VerdictRules;
  readonly settingsPendingContactsAllowed: number;
  readonly eventRateLimitPerMinute: number;
  readonly clockLimits: ClockLimits;
  readonly certificateDays: CertificateDays;
  /** The last edit of the lineage that changed what verdicts are judged by. */
  readonly rulesSince: FleetInstant;
}

/** The part of a computer's row that decides its effective settings. */
export interface SettingsSubject {
  readonly kind: 'agent' | 'appliance';
  readonly policyId: string;
  /** The stored overrides as JSON text; null when there are none. */
  readonly overrides: string | null;
}

/**
 * Effective settings per policy, resolved once per generation and shared by all computers of a policy; a computer's
 * own overrides are laid on top and cached by their text. Every effective value in the program comes from here.
 */
export interface SettingsCache {
  generation(): ForestGeneration;
  /** Makes the cache at least as new as `needed`; a cache that is new enough answers at once. */
  ensure(needed: ForestGeneration): Promise<void>;
  settingsOf(subject: SettingsSubject): ComputerSettings;
  /** Called after the cache took up a newer generation. */
  onChange(listener: () => void): void;
}
