import { createHash } from 'node:crypto';

import { canonicalJson, type JsonValue } from '../../lib/canonical-json.js';
import type { Clock } from '../../lib/clock.js';
import type { ComponentKind, WatchedComponent } from '../../policies/setting-values.js';
import type { ComponentReport } from '../../protocol/heartbeat-messages.js';
import { toStorableJson } from '../storable.js';
import { InventoryLooks, systemInventory, type InventorySources } from '../inventory/inventory-looks.js';
import type { InventoryReading } from '../inventory/inventory-set.js';
import {
  createBoundedCollector,
  type BoundedOptions,
  type Collector,
  type CollectorState,
  type OnCollected,
} from './collector.js';
import { componentStates, unitsOf, type ComponentReadings } from './component-states.js';
import { createCountersCollector, ownCounters } from './counters-collector.js';
import { createFactsCollector } from './facts-collector.js';
import { createModuleCollector, type KernelModules } from './module-collector.js';
import { createProcessCollector, type RunningProcess } from './process-collector.js';
import { readUnits, type UnitReader } from './systemctl.js';
import { UnitWatch } from './unit-watch.js';

export interface HostSnapshot {
  readonly facts: JsonValue;
  /** Lower-case hex SHA-256 of the facts' canonical JSON. */
  readonly factsDigest: string;
  readonly counters: JsonValue;
  readonly components: readonly ComponentReport[];
  /** What was found so far; absent where it is not gathered. */
  readonly inventory?: InventoryReading | undefined;
  /** What failed or hangs; empty when all is well. */
  readonly errors: readonly string[];
}

export interface LookOptions {
  /** Whether packages and sockets are looked at too; what is going on already is not stopped. */
  readonly inventory?: boolean;
}

/** Everything a report says of this machine. `snapshot` always answers, within about a second. */
export interface HostCollectors {
  snapshot(watched: readonly WatchedComponent[], options?: LookOptions): Promise<HostSnapshot>;
}

export interface HostSources {
  readonly counters: Collector<JsonValue>;
  readonly facts: Collector<JsonValue>;
  readonly processes: Collector<readonly RunningProcess[]>;
  readonly units: UnitReader;
  readonly modules: Collector<KernelModules>;
  /** Not gathered unless given. */
  readonly inventory?: InventorySources;
}

export function systemSources(folder: string): HostSources {
  return {
    counters: createCountersCollector(folder),
    facts: createFactsCollector(),
    processes: createProcessCollector(),
    units: readUnits,
    modules: createModuleCollector(),
  };
}

/** With packages and sockets. */
export function wholeSources(folder: string, clock: Clock): HostSources {
  return { ...systemSources(folder), inventory: systemInventory(clock) };
}

const FACTS_AGE_MS = 60_000;
const MAX_COUNTERS_LENGTH = 32_000;
const MAX_FACTS_LENGTH = 65_000;

export interface HostCollectorOptions {
  readonly clock: Clock;
  readonly sources: HostSources;
  /** A reading this young is answered again; many agents of one process share it. */
  readonly reuseMs?: number;
  readonly limitMs?: number;
  readonly onCollected?: OnCollected | undefined;
}

export function createHostCollectors(options: HostCollectorOptions): HostCollectors {
  const { clock, sources, reuseMs = 0 } = options;
  const bounds = boundsOf(options);
  const counters = reusing(createBoundedCollector(sources.counters, bounds), clock, reuseMs);
  const facts = reusing(createBoundedCollector(sources.facts, bounds), clock, FACTS_AGE_MS);
  const components = componentReader(options);
  const inventory = sources.inventory && new InventoryLooks({ ...options, sources: sources.inventory });
  let described: { readonly from: JsonValue | undefined; readonly facts: JsonValue; readonly digest: string } = {
    from: undefined,
    ...describe(undefined),
  };
  return {
    async snapshot(watched, { inventory: isInventoryWanted = true } = {}) {
      const found = isInventoryWanted ? inventory?.look() : undefined;
      const [read, known, seen] = await Promise.all([counters(), facts(), components(watched)]);
      if (described.from !== known.value) described = { from: known.value, ...describe(known.value) };
      return {
        facts: described.facts,
        factsDigest: described.digest,
        counters: bounded({ host: read.value ?? null, agent: ownCounters() }, MAX_COUNTERS_LENGTH),
        components: componentStates(watched, seen.readings),
        inventory: found?.reading,
        errors: [read.error, known.error, ...seen.errors, ...(found?.errors ?? [])].filter(
          (error) => error !== undefined,
        ),
      };
    },
  };
}

interface ComponentLook {
  readonly readings: ComponentReadings;
  readonly errors: readonly (string | undefined)[];
}

/** Looks only where something is watched. */
function componentReader(
  options: HostCollectorOptions,
): (watched: readonly WatchedComponent[]) => Promise<ComponentLook> {
  const { clock, sources, reuseMs = 0 } = options;
  const bounds = boundsOf(options);
  const processes = reusing(createBoundedCollector(sources.processes, bounds), clock, reuseMs);
  const modules = reusing(createBoundedCollector(sources.modules, bounds), clock, reuseMs);
  const units = new UnitWatch({ clock, read: sources.units, reuseMs });
  return async (watched) => {
    const whereWatched = <T>(
      kind: ComponentKind,
      look: () => Promise<CollectorState<T>>,
    ): Promise<CollectorState<T>> =>
      watched.some((component) => component.kind === kind) ? look() : Promise.resolve(NOT_LOOKED);
    const [running, loaded, shown] = await Promise.all([
      whereWatched('process', processes),
      whereWatched('kernelModule', modules),
      units.look(unitsOf(watched)),
    ]);
    return {
      readings: { running: goodValue(running), modules: goodValue(loaded), units: shown.states },
      errors: [running.error, loaded.error, shown.error],
    };
  };
}

const NOT_LOOKED = { value: undefined, error: undefined };

/** An old list would tell of components that may be gone. */
function goodValue<T>({ value, error }: CollectorState<T>): T | undefined {
  return error === undefined ? value : undefined;
}

function boundsOf({ clock, limitMs, onCollected }: HostCollectorOptions): BoundedOptions {
  return { clock, onCollected, ...(limitMs === undefined ? {} : { limitMs }) };
}

/** One refresh at a time, shared by whoever asks meanwhile; a good reading is answered again for `reuseMs`. */
function reusing<T>(
  collector: { refresh(): Promise<CollectorState<T>> },
  clock: Clock,
  reuseMs: number,
): () => Promise<CollectorState<T>> {
  let running: Promise<CollectorState<T>> | undefined;
  let last: { readonly at: number; readonly state: CollectorState<T> } | undefined;
  const refresh = async (): Promise<CollectorState<T>> => {
    const state = await collector.refresh();
    last = state.error === undefined ? { at: clock.monotonic(), state } : undefined;
    running = undefined;
    return state;
  };
  return async () => {
    if (running) return running;
    if (last && clock.monotonic() - last.at < reuseMs) return last.state;
    running = refresh();
    return running;
  };
}

function describe(value: JsonValue | undefined): { facts: JsonValue; digest: string } {
  const facts = bounded(value ?? {}, MAX_FACTS_LENGTH);
  return { facts, digest: createHash('sha256').update(canonicalJson(facts)).digest('hex') };
}

function bounded(value: JsonValue, maxLength: number): JsonValue {
  const storable = toStorableJson(value);
  return JSON.stringify(storable).length <= maxLength ? storable : {};
}
