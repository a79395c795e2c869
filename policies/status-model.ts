/** The statuses that are stored; what each means to a reader. */
export const STATUSES = {
  pending: 'Never seen: enrolled or announced, but no report is stored yet.',
  online: 'In contact: the next heartbeat is not overdue.',
  late: 'At least one heartbeat was missed, but not more than the policy allows.',
  offline: 'More heartbeats were missed than the policy allows, or the agent was uninstalled.',
  stopped: 'The power state says that the machine is stopped.',
  revoked: 'The certificate and the record were revoked; nothing of this computer is accepted.',
} as const;

export type Status = keyof typeof STATUSES;

/** Why a computer has its status, in the words of both sides. */
export const STATUS_REASONS = {
  'never-seen': 'No report was ever stored.',
  'in-contact': 'The last heartbeat arrived in time.',
  'heartbeat-missed': 'A heartbeat is overdue.',
  'absence-allowed': 'Heartbeats are overdue, and the policy allows any number of misses.',
  'power-stopped': 'The machine was said to be stopped.',
  'goodbye-shutdown': 'The agent said that the machine was shutting down.',
  'goodbye-restart': 'The agent said that it was restarting and did not come back in time.',
  'goodbye-update': 'The agent said that it was being updated and did not come back in time.',
  'goodbye-uninstall': 'The agent said that it was being uninstalled.',
  suspended: 'The agent said that the machine was being suspended.',
  dns: 'A name could not be resolved.',
  refused: 'The connection was refused.',
  timeout: 'The connection or the exchange timed out.',
  reset: 'The connection was reset.',
  'tls-expired': 'A certificate had expired.',
  'tls-not-yet-valid': 'A certificate was not yet valid.',
  'tls-unknown-ca': 'A certificate was issued by an unknown authority.',
  'clock-skew': "The computer's clock is outside the dates of the certificates.",
  duplicate: 'Another machine uses the same identity.',
  throttled: 'The manager asked the agent to wait.',
  revoked: 'The computer was revoked.',
  unknown: 'Nothing is known but the silence.',
} as const;

export type StatusReason = keyof typeof STATUS_REASONS;

export const GOODBYE_REASONS = ['shutdown', 'restart', 'update', 'uninstall', 'suspended'] as const;
export type GoodbyeReason = (typeof GOODBYE_REASONS)[number];

export const POWER_STATES = ['running', 'stopped', 'unknown'] as const;
export type PowerState = (typeof POWER_STATES)[number];

export function goodbyeStatusReason(reason: GoodbyeReason): StatusReason {
  return reason === 'suspended' ? 'suspended' : `goodbye-${reason}`;
}

/** Results of the manager's failed dials that are reasons too. */
const DIAL_FAILURE_REASONS = [
  'dns',
  'refused',
  'timeout',
  'reset',
  'tls-expired',
  'tls-not-yet-valid',
  'tls-unknown-ca',
] as const satisfies readonly StatusReason[];
export type DialFailureReason = (typeof DIAL_FAILURE_REASONS)[number];

/** The reason that a dial's result gives a silence; null for a result that is no reason code. */
export function dialStatusReason(result: string): DialFailureReason | null {
  return DIAL_FAILURE_REASONS.find((reason) => reason === result) ?? null;
}

export const SEVERITIES = ['info', 'low', 'medium', 'high', 'critical'] as const;
export type Severity = (typeof SEVERITIES)[number];

export interface AlertTypeDescription {
  readonly severity: Severity;
  /** Automatic: resolves itself when the condition ends, and cannot be dismissed by hand before. */
  readonly dismissal: 'automatic' | 'by hand';
  readonly description: string;
}

export const ALERT_TYPES = {
  'computer-offline': automatic('high', 'A computer missed more heartbeats than its policy allows.'),
  'clock-changed': byHand('medium', "A computer's clock changed by more than its policy allows."),
  'clock-drift': automatic('medium', "A computer's clock differs from the manager's by more than its policy allows."),
  'settings-pending': automatic('medium', 'Delivered settings are not applied after the allowed exchanges.'),
  'settings-reverted': automatic('high', 'Settings that would have cut the agent off were reverted.'),
  'component-offline': automatic('high', "A watched component or a part of the agent's own is down."),
  'certificate-expiring': automatic('medium', 'A certificate is close to its expiry and was not renewed.'),
  'duplicate-identity': byHand('critical', 'Two machines use the identity of one computer.'),
  'mass-outage': automatic('critical', 'Most computers with a common factor fell silent together.'),
  'manager-degraded': automatic('high', 'The manager could not listen, or could not store what it heard.'),
  'spool-gap': byHand('medium', 'An agent had to drop events that were never delivered.'),
  'update-failed': automatic('high', 'An update of the agent failed.'),
} as const satisfies Record<string, AlertTypeDescription>;

export type AlertType = keyof typeof ALERT_TYPES;

function automatic(severity: Severity, description: string): AlertTypeDescription {
  return { severity, dismissal: 'automatic', description };
}

function byHand(severity: Severity, description: string): AlertTypeDescription {
  return { severity, dismissal: 'by hand', description };
}
