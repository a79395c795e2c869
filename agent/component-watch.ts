import type { CommunicationDirection } from '../policies/setting-values.js';
import { alarmingState } from '../protocol/component-parts.js';
import type { ComponentReport } from '../protocol/heartbeat-messages.js';
import type { IncomingEvent } from './spool/event-intake.js';

/** Turns the changes between two looks at the components into events; `unknown` neither raises nor clears. */
export class ComponentWatch {
  readonly #states = new Map<string, 'online' | 'offline'>();

  /** `direction`: the one in force, by which a listener that is off-line is a fault or none. */
  changes(components: readonly ComponentReport[], direction: CommunicationDirection): IncomingEvent[] {
    const events = components.flatMap((component) =>
      this.#change({ ...component, state: alarmingState(component, direction) }),
    );
    const watched = new Set(components.map(keyOf));
    for (const key of this.#states.keys()) if (!watched.has(key)) this.#states.delete(key);
    return events;
  }

  #change(component: ComponentReport): IncomingEvent[] {
    const { name, kind, state, detail } = component;
    if (state === 'unknown') return [];
    const before = this.#states.get(keyOf(component));
    this.#states.set(keyOf(component), state);
    if (before === state || (before === undefined && state === 'online')) return [];
    const isUp = state === 'online';
    return [
      {
        kind: isUp ? 'component-up' : 'component-down',
        severity: isUp ? 'info' : 'high',
        message: `${name} is ${state}`,
        data: { name, kind, state, ...(detail === undefined ? {} : { detail }) },
      },
    ];
  }
}

function keyOf({ kind, name }: ComponentReport): string {
  return `${kind} ${name}`;
}
