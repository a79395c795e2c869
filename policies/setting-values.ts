import type { FirewallRule } from './firewall-rules.js';

/** The word that stands for "no limit" where the catalogue allows it. */
export const UNLIMITED = 'unlimited';
export type Unlimited = typeof UNLIMITED;

export const DIRECTIONS = ['bidirectional', 'managerInitiated', 'agentInitiated'] as const;
export type CommunicationDirection = (typeof DIRECTIONS)[number];

export const CONNECTION_MODES = ['held', 'perHeartbeat'] as const;
export type ConnectionMode = (typeof CONNECTION_MODES)[number];

export const COMPONENT_KINDS = ['process', 'systemdUnit', 'kernelModule'] as const;
export type ComponentKind = (typeof COMPONENT_KINDS)[number];

/** An HTTP proxy by URL (no user info); `credential` names a secret kept elsewhere. */
export interface ProxySetting {
  readonly url: string;
  readonly credential?: string;
}

/** A process, unit or kernel module whose state each report carries; `match` is what the agent looks for. */
export interface WatchedComponent {
  readonly name: string;
  readonly kind: ComponentKind;
  readonly match: string;
}

/** A window begins whenever the five-field cron expression fires in the IANA time zone. */
export interface MaintenanceWindow {
  readonly cron: string;
  readonly durationMinutes: number;
  readonly timeZone: string;
}

/** The value type of every setting. A key added here must be described in the catalogue, or nothing compiles. */
export interface SettingValues {
  readonly heartbeatIntervalSeconds: number;
  readonly heartbeatsMissedAllowed: number | Unlimited;
  readonly heartbeatGraceSeconds: number;
  readonly clockChangeLimitSeconds: number | Unlimited;
  readonly clockDriftLimitSeconds: number | Unlimited;
  readonly offlineAlertForStoppedVm: boolean;
  readonly goodbyeToleranceSeconds: number;
  readonly settingsPendingContactsAllowed: number;
  readonly communicationDirection: CommunicationDirection;
  readonly connectionMode: ConnectionMode;
  readonly pingIntervalSeconds: number;
  readonly pongTimeoutSeconds: number;
  readonly listenerPort: number;
  readonly listenerAllowedSources: readonly string[];
  readonly managerUrls: readonly string[];
  readonly proxies: readonly ProxySetting[];
  readonly proxyFallbackDirect: boolean;
  readonly eventRateLimitPerMinute: number;
  readonly spoolMaxMegabytes: number;
  readonly componentsWatched: readonly WatchedComponent[];
  readonly firewallRules: readonly FirewallRule[];
  readonly maintenanceWindows: readonly MaintenanceWindow[];
  readonly certificateLifetimeDays: number;
  readonly renewAfterExpiryDays: number;
  readonly certificateExpiryAlertDays: number;
  readonly cleanupAfterDays: number | Unlimited;
}

export type SettingKey = keyof SettingValues;
export type SettingValue = SettingValues[SettingKey];

/** The overrides of one policy or computer: absent means inherited, no setting has null as a value. */
export type SettingOverrides = { readonly [K in SettingKey]?: SettingValues[K] };

export type ComputerKind = 'agent' | 'appliance';
export type LockMode = 'locked' | 'tightenOnly';
