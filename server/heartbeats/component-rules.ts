import type { CommunicationDirection } from '../../policies/setting-values.js';
import { alarmingState, isListenerPart } from '../../protocol/component-parts.js';
import type { ComponentReport } from '../../protocol/heartbeat-messages.js';
import type { FleetInstant } from '../fleet-clock/fleet-clock.js';

export type ComponentState = ComponentReport['state'];

export interface StoredComponent {
  readonly computerId: string;
  readonly kind: string;
  readonly name: string;
  readonly state: ComponentState;
  readonly since: FleetInstant;
  readonly detail: string | null;
}

export interface ComponentChanges {
  readonly changed: readonly StoredComponent[];
  readonly gone: readonly StoredComponent[];
  /** Became a fault with this report, or may have: a listener that is off-line is one by the direction in force. */
  readonly failed: readonly StoredComponent[];
  /** Was off-line and is no fault any more, or is no longer watched. */
  readonly recovered: readonly StoredComponent[];
  readonly at: FleetInstant;
}

export interface ComponentUpdate {
  readonly computerId: string;
  readonly stored: readonly StoredComponent[];
  readonly reported: readonly ComponentReport[];
  /** In force at the agent, by its own word. */
  readonly direction: CommunicationDirection | undefined;
  readonly at: FleetInstant;
}

/** What differs between the stored components of a computer and those it reports; `since` moves with the state alone. */
export function compareComponents(update: ComponentUpdate): ComponentChanges {
  const { computerId, stored, reported, direction, at } = update;
  const before = new Map(stored.map((component) => [keyOf(component), component]));
  const after = new Map(reported.map((component) => [keyOf(component), component]));
  const pairs = [...after].map(([key, component]) => {
    const { kind, name, state, detail = null } = component;
    const old = before.get(key);
    const since = old?.state === state ? old.since : at;
    const now = { computerId, kind, name, state, since, detail };
    return {
      old,
      now,
      isFault: alarmingState(component, direction) === 'offline',
      isListener: isListenerPart(component),
    };
  });
  const gone = stored.filter((component) => !after.has(keyOf(component)));
  const wasOffline = pairs.filter(({ old }) => old?.state === 'offline');
  return {
    changed: pairs
      .filter(({ old, now }) => old?.state !== now.state || old.detail !== now.detail)
      .map(({ now }) => now),
    gone,
    failed: pairs
      .filter(({ old, isFault, isListener }) => isFault && (isListener || old?.state !== 'offline'))
      .map(({ now }) => now),
    recovered: [
      ...wasOffline.filter(({ isFault }) => !isFault).map(({ now }) => now),
      ...gone.filter(({ state }) => state === 'offline'),
    ],
    at,
  };
}

/** The subject of a component's alert. */
export function componentSubject({ computerId, kind, name }: StoredComponent): string {
  return `${computerId}/${kind}/${name}`;
}

function keyOf({ kind, name }: { readonly kind: string; readonly name: string }): string {
  return `${kind}\n${name}`;
}
