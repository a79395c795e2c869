import type { CommunicationDirection } from '../policies/setting-values.js';
import type { ComponentReport } from './heartbeat-messages.js';

/** The agent's part that waits for dials; reported unless the direction in force is `agentInitiated`. */
export const LISTENER_PART = { name: 'listener', kind: 'agentPart' } as const;

export function isListenerPart({ name, kind }: Pick<ComponentReport, 'name' | 'kind'>): boolean {
  return kind === LISTENER_PART.kind && name === LISTENER_PART.name;
}

/**
 * A component's state as alarms are to see it, on either side. Off-line, the listener is a fault under `managerInitiated`
 * alone: a bidirectional agent goes on dialling, and of the agents of one host all but one live so.
 */
export function alarmingState(
  component: Pick<ComponentReport, 'name' | 'kind' | 'state'>,
  direction: CommunicationDirection | undefined,
): ComponentReport['state'] {
  const isCalm = isListenerPart(component) && direction !== 'managerInitiated';
  return isCalm && component.state === 'offline' ? 'unknown' : component.state;
}
