import type { IsolationPeer } from '../../policies/firewall-rules.js';
import type { FirewallReport } from '../../protocol/heartbeat-messages.js';
import type { IncomingEvent } from '../spool/event-intake.js';
import type { Isolation } from '../state-store.js';

/** What the firewall came to. */
export interface Outcome {
  readonly state: FirewallReport['state'];
  readonly detail?: string;
}

export const RESTORED: IncomingEvent = {
  kind: 'firewall-restored',
  severity: 'medium',
  message: 'The tables of the firewall were taken away by another program, and are loaded again',
};
export const APPLIED: IncomingEvent = {
  kind: 'firewall-applied',
  severity: 'info',
  message: 'The firewall is as the settings want it',
};

export function troubleOf({ state, detail = '' }: Outcome): IncomingEvent {
  const isUnsupported = state === 'unsupported';
  return {
    kind: isUnsupported ? 'firewall-unsupported' : 'firewall-failed',
    severity: isUnsupported ? 'medium' : 'high',
    message: isUnsupported
      ? `The firewall cannot be used here: ${detail}`
      : `The rules of the firewall could not be loaded, the former ones are in force: ${detail}`,
    data: { detail },
  };
}

export function isolatedEvent({ commandId, allow }: Pick<Isolation, 'commandId' | 'allow'>): IncomingEvent {
  return {
    kind: 'isolated',
    severity: 'high',
    message: 'The computer was isolated by command: only its manager is left to it',
    data: { commandId, allow: allow.map(({ ip }: IsolationPeer) => ip) },
  };
}

export function endedEvent(
  { commandId: isolatedBy }: Isolation,
  by: 'command' | 'code',
  commandId: string | undefined,
): IncomingEvent {
  const isByCode = by === 'code';
  return {
    kind: 'isolation-ended',
    severity: isByCode ? 'high' : 'medium',
    message: isByCode ? 'The isolation was ended at the computer by its code' : 'The isolation was ended by command',
    data: { by, isolatedBy, ...(commandId === undefined ? {} : { commandId }) },
  };
}

export function codeRefusedEvent({ commandId: isolatedBy }: Isolation): IncomingEvent {
  return {
    kind: 'release-code-refused',
    severity: 'high',
    message: 'A wrong code was given at the computer to end its isolation',
    data: { isolatedBy },
  };
}
