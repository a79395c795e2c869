import type { SilentGroup } from '../../policies/incident-rules.js';
import type { FleetInstant } from '../fleet-clock/fleet-clock.js';
import type { FactorKeys } from './factor-census.js';

/** A computer that is silent. */
export interface SilentComputer {
  readonly computerId: string;
  readonly since: FleetInstant;
  /** Until then it counts as one that fell silent together with others. */
  readonly freshUntil: FleetInstant;
  /** What it shared with others when it fell silent. */
  readonly keys: FactorKeys;
  /** It has an alert of its own. */
  isOffline: boolean;
  /** The incident that it belongs to. */
  incidentId: string | null;
}

/** Silent computers, counted by what they share. */
export class SilencePool {
  readonly #computers = new Set<SilentComputer>();
  readonly #byProfile = new Map<FactorKeys, number>();
  #offline = 0;

  get size(): number {
    return this.#computers.size;
  }

  /** How many have an alert of their own. */
  get offline(): number {
    return this.#offline;
  }

  has(computer: SilentComputer): boolean {
    return this.#computers.has(computer);
  }

  add(computer: SilentComputer): void {
    if (this.#computers.has(computer)) return;
    this.#computers.add(computer);
    this.#count(computer, 1);
  }

  delete(computer: SilentComputer): void {
    if (this.#computers.delete(computer)) this.#count(computer, -1);
  }

  /** One of these has got an alert of its own. */
  noteOffline(computer: SilentComputer): void {
    if (computer.isOffline) return;
    computer.isOffline = true;
    this.#offline += 1;
  }

  #count(computer: SilentComputer, by: 1 | -1): void {
    if (computer.isOffline) this.#offline += by;
    const count = (this.#byProfile.get(computer.keys) ?? 0) + by;
    if (count === 0) this.#byProfile.delete(computer.keys);
    else this.#byProfile.set(computer.keys, count);
  }

  groups(incidentId: string | null): SilentGroup[] {
    return [...this.#byProfile].map(([factors, silent]) => ({ factors, incidentId, silent }));
  }

  with(key: string): SilentComputer[] {
    return [...this.#computers].filter(({ keys }) => keys.includes(key));
  }

  all(): SilentComputer[] {
    return [...this.#computers];
  }

  first(count: number): SilentComputer[] {
    const first: SilentComputer[] = [];
    for (const computer of this.#computers) {
      if (first.length === count) break;
      first.push(computer);
    }
    return first;
  }
}
