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
  /** Went off-line with this report. */
  readonly failed: readonly StoredComponent[];
  /** Was off-line and is not any more, or is no longer watched. */
  readonly recovered: readonly StoredComponent[];
}

export interface ComponentUpdate {
  readonly computerId: string;
  readonly stored: readonly StoredComponent[];
  readonly reported: readonly ComponentReport[];
  readonly at: FleetInstant;
}

/** What differs between the stored components of a computer and those it reports; `since` moves with the state alone. */
export function compareComponents({ computerId, stored, reported, at }: ComponentUpdate): ComponentChanges {
  const before = new Map(stored.map((component) => [keyOf(component), component]));
  const after = new Map(reported.map((component) => [keyOf(component), component]));
  const pairs = [...after].flatMap(([key, { kind, name, state, detail = null }]) => {
    const old = before.get(key);
    if (old?.state === state && old.detail === detail) return [];
    const since = old?.state === state ? old.since : at;
    return [{ was: old?.state, now: { computerId, kind, name, state, since, detail } }];
  });
  const gone = stored.filter((component) => !after.has(keyOf(component)));
  const turned = pairs.filter(({ was, now }) => was !== now.state);
  return {
    changed: pairs.map(({ now }) => now),
    gone,
    failed: turned.filter(({ now }) => now.state === 'offline').map(({ now }) => now),
    recovered: [
      ...turned.filter(({ was }) => was === 'offline').map(({ now }) => now),
      ...gone.filter(({ state }) => state === 'offline'),
    ],
  };
}

/** The subject of a component's alert. */
export function componentSubject({ computerId, kind, name }: StoredComponent): string {
  return `${computerId}/${kind}/${name}`;
}

function keyOf({ kind, name }: { readonly kind: string; readonly name: string }): string {
  return `${kind}\n${name}`;
}
