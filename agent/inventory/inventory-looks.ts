import type { Clock } from '../../lib/clock.js';
import type { PackageItem } from '../../protocol/inventory-messages.js';
import {
  createBoundedCollector,
  type Collector,
  type CollectorState,
  type OnCollected,
} from '../collectors/collector.js';
import { toInventorySet, type InventoryReading, type InventorySet } from './inventory-set.js';
import { createPackagesCollector, type Found } from './packages-collector.js';
import { createSocketsCollector, type FoundSockets } from './sockets-collector.js';

export interface InventorySources {
  readonly packages: Collector<Found<PackageItem>>;
  readonly sockets: Collector<FoundSockets>;
}

export function systemInventory(clock: Clock): InventorySources {
  return { packages: createPackagesCollector(clock), sockets: createSocketsCollector(clock) };
}

export interface InventoryLook {
  readonly reading: InventoryReading;
  /** What failed or hangs. */
  readonly errors: readonly string[];
}

const PACKAGES = { everyMs: 60_000, limitMs: 60_000 };
const SOCKETS = { everyMs: 60_000, limitMs: 20_000 };
/** Connections change all the time, and every change is written at the manager. */
const CONNECTIONS_EVERY_MS = 300_000;

export interface InventoryLooksDeps {
  readonly clock: Clock;
  readonly sources: InventorySources;
  readonly onCollected?: OnCollected | undefined;
}

/**
 * Looks at what the machine has behind the heartbeat: an answer is what is known, and is never waited for. Each source has
 * one look at a time, which begins when somebody asks and the last one is old enough.
 */
export class InventoryLooks {
  readonly #packages: BackgroundLook<Found<PackageItem>>;
  readonly #sockets: BackgroundLook<FoundSockets>;
  #sets: {
    readonly packages?: InventorySet;
    readonly listeningPorts?: InventorySet;
    readonly connections?: InventorySet;
  } = {};
  #connectionsAt = Number.NEGATIVE_INFINITY;
  #packagesFound: Found<PackageItem> | undefined;
  readonly #clock: Clock;

  constructor({ clock, sources, onCollected }: InventoryLooksDeps) {
    this.#clock = clock;
    const base = { clock, onCollected };
    this.#packages = new BackgroundLook(sources.packages, {
      ...base,
      ...PACKAGES,
      onValue: (found) => this.#took(found),
    });
    this.#sockets = new BackgroundLook(sources.sockets, {
      ...base,
      ...SOCKETS,
      onValue: (found) => this.#tookSockets(found),
    });
  }

  look(): InventoryLook {
    const states = [this.#packages.peek(), this.#sockets.peek()];
    return { reading: this.#sets, errors: states.map(({ error }) => error).filter((error) => error !== undefined) };
  }

  /** The databases have not changed where it is the same one: thousands of items are not compared again. */
  #took(found: Found<PackageItem>): void {
    if (found === this.#packagesFound) return;
    this.#packagesFound = found;
    this.#sets = { ...this.#sets, packages: toInventorySet('packages', found, this.#sets.packages) };
  }

  #tookSockets({ listeningPorts, connections }: FoundSockets): void {
    const { listeningPorts: former, connections: before } = this.#sets;
    this.#sets = { ...this.#sets, listeningPorts: toInventorySet('listeningPorts', listeningPorts, former) };
    const now = this.#clock.monotonic();
    if (now - this.#connectionsAt < CONNECTIONS_EVERY_MS) return;
    this.#connectionsAt = now;
    this.#sets = { ...this.#sets, connections: toInventorySet('connections', connections, before) };
  }
}

interface BackgroundOptions<T> {
  readonly clock: Clock;
  readonly everyMs: number;
  readonly limitMs: number;
  readonly onValue: (value: T) => void;
  readonly onCollected?: OnCollected | undefined;
}

/** A collector that nobody waits for. One that hangs is told of and not begun again. */
class BackgroundLook<T> {
  readonly #collector;
  readonly #options: BackgroundOptions<T>;
  #error: string | undefined;
  #isBusy = false;
  #begunAt = Number.NEGATIVE_INFINITY;

  constructor(collector: Collector<T>, options: BackgroundOptions<T>) {
    this.#collector = createBoundedCollector(collector, options);
    this.#options = options;
  }

  peek(): Pick<CollectorState<T>, 'error'> {
    const { clock, everyMs } = this.#options;
    const now = clock.monotonic();
    if (!this.#isBusy && now - this.#begunAt >= everyMs) {
      this.#begunAt = now;
      this.#isBusy = true;
      void this.#refresh();
    }
    return { error: this.#error };
  }

  /** Never rejects. */
  async #refresh(): Promise<void> {
    const { value, error } = await this.#collector.refresh();
    this.#isBusy = false;
    this.#error = error;
    if (error !== undefined || value === undefined) return;
    try {
      this.#options.onValue(value);
    } catch (failure) {
      this.#error = failure instanceof Error ? failure.message : String(failure);
    }
  }
}
