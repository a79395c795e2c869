import { settingsDocument } from '../../policies/fingerprint.js';
import { effectiveValues, type ResolvedSettings } from '../../policies/resolve-settings.js';
import type { SettingKey, SettingValues } from '../../policies/setting-values.js';
import type { FleetInstant } from '../fleet-clock/fleet-clock.js';
import type { ComputerSettings, VerdictRules } from './settings-cache.js';

const SECOND_MS = 1000;

/** The settings that verdicts are judged by; the interval counts only as the agent has confirmed it. */
export const VERDICT_KEYS = [
  'heartbeatsMissedAllowed',
  'heartbeatGraceSeconds',
  'offlineAlertForStoppedVm',
  'goodbyeToleranceSeconds',
] as const satisfies readonly SettingKey[];

/** Answers the effective value of a key. */
export type ValueOf = <K extends SettingKey>(key: K) => SettingValues[K];

export function verdictRulesOf(resolved: ResolvedSettings): VerdictRules {
  return verdictRulesBy((key) => resolved.settings[key].value);
}

export function verdictRulesBy(valueOf: ValueOf): VerdictRules {
  return {
    missedAllowed: valueOf('heartbeatsMissedAllowed'),
    graceMs: valueOf('heartbeatGraceSeconds') * SECOND_MS,
    offlineAlertForStoppedVm: valueOf('offlineAlertForStoppedVm'),
    goodbyeToleranceMs: valueOf('goodbyeToleranceSeconds') * SECOND_MS,
  };
}

export function toComputerSettings(resolved: ResolvedSettings, rulesSince: FleetInstant): ComputerSettings {
  const { settings } = resolved;
  return {
    ...settingsDocument(effectiveValues(resolved)),
    intervalMs: settings.heartbeatIntervalSeconds.value * SECOND_MS,
    verdictRules: verdictRulesOf(resolved),
    clockLimits: {
      changeMs: limitMs(settings.clockChangeLimitSeconds.value),
      driftMs: limitMs(settings.clockDriftLimitSeconds.value),
    },
    certificateDays: {
      lifetime: settings.certificateLifetimeDays.value,
      renewAfterExpiry: settings.renewAfterExpiryDays.value,
      expiryAlert: settings.certificateExpiryAlertDays.value,
    },
    settingsPendingContactsAllowed: settings.settingsPendingContactsAllowed.value,
    eventRateLimitPerMinute: settings.eventRateLimitPerMinute.value,
    rulesSince,
  };
}

function limitMs(seconds: number | 'unlimited'): number {
  return seconds === 'unlimited' ? Number.POSITIVE_INFINITY : seconds * SECOND_MS;
}

/**
 * Whether an edit changed what verdicts are judged by, for the node or for an override below it: the values and the
 * locks that bind what is below count.
 */
export function changesVerdictRules(before: ResolvedSettings, after: ResolvedSettings): boolean {
  return VERDICT_KEYS.some(
    (key) =>
      before.settings[key].value !== after.settings[key].value ||
      (before.bounds !== after.bounds &&
        JSON.stringify(boundsOf(before, key)) !== JSON.stringify(boundsOf(after, key))),
  );
}

function boundsOf(resolved: ResolvedSettings, key: SettingKey): unknown {
  return resolved.bounds[key]?.map(({ mode, value }) => [mode, value]) ?? [];
}
