import { hash } from 'node:crypto';

import type { Clock } from '../../lib/clock.js';
import {
  heldText,
  INVENTORY_KINDS,
  MAX_CHANGES_PER_REPORT,
  type HeldInventory,
  type InventoryChange,
  type InventoryKind,
  type InventoryReport,
} from '../../protocol/inventory-messages.js';
import {
  changeBetween,
  digestOf,
  toItems,
  type ChangeBounds,
  type InventoryReading,
  type ItemLines,
} from './inventory-set.js';

/** By kind, the digest of the set that the manager holds by its own word. */
export type HeldDigests = Readonly<Partial<Record<InventoryKind, string>>>;

/** What a report says of the inventory. */
export interface InventoryPart {
  readonly inventoryDigest: string;
  readonly inventory?: InventoryReport;
}

interface Held {
  readonly digest: string;
  /** Unknown where another process of this agent sent the set. */
  readonly lines: ItemLines | undefined;
}

interface Outstanding extends Held {
  readonly kind: InventoryKind;
}

interface MadeChange {
  readonly change: InventoryChange;
  readonly outstanding: Outstanding;
  readonly size: { readonly items: number; readonly length: number };
}

const MAX_CHANGE_LENGTH = 192 * 1024;
/** A manager that does not answer changes knows of none: it may be a newer one later. */
const NOT_UNDERSTOOD_MS = 3_600_000;
/** A manager that has too much to store at the moment is asked again later. */
const SHED_MS = 120_000;
const NOTHING: ItemLines = new Map();

/**
 * What the manager holds of each kind, by its own word, and what leads from there to what the machine has now. Whatever
 * was lost on either side ends in a whole set.
 */
export class InventoryLedger {
  readonly #clock: Pick<Clock, 'boot'>;
  readonly #held = new Map<InventoryKind, Held>();
  #reading: InventoryReading = {};
  #outstanding: readonly Outstanding[] = [];
  #silentUntilBoot = Number.NEGATIVE_INFINITY;
  #hasAdvanced = false;

  constructor(clock: Pick<Clock, 'boot'>, held: HeldDigests = {}) {
    this.#clock = clock;
    for (const kind of INVENTORY_KINDS) {
      const digest = held[kind];
      if (digest !== undefined) this.#held.set(kind, { digest, lines: undefined });
    }
  }

  /** What the machine has now; undefined while nothing is gathered. */
  look(reading: InventoryReading | undefined): void {
    this.#reading = reading ?? {};
  }

  /** The next report tells whole sets. */
  forget(): void {
    this.#held.clear();
  }

  /** Whether a report now would carry a change. */
  get hasNews(): boolean {
    return !this.#isSilent && INVENTORY_KINDS.some((kind) => this.#isNew(kind));
  }

  /** Whether a further report of the same exchange is worth it: the last one's changes were taken, and there are more. */
  get drainsOn(): boolean {
    return this.#hasAdvanced && this.hasNews;
  }

  /** For the report that is built now; what an earlier one was to bring counts no more. */
  next({ reduced }: { readonly reduced: boolean }): InventoryPart {
    this.#outstanding = [];
    const changes = reduced || this.#isSilent ? {} : this.#changes();
    const digests = Object.fromEntries([
      ...[...this.#held].map(([kind, { digest }]) => [kind, digest] as const),
      ...this.#outstanding.map(({ kind, digest }) => [kind, digest] as const),
    ]) as HeldDigests;
    const inventoryDigest = hash('sha256', heldText(digests));
    const hasChanges = this.#outstanding.length > 0;
    return { inventoryDigest, ...(hasChanges ? { inventory: changes } : {}) };
  }

  /** The report was answered; answers what the manager holds, where that is news. */
  answered(carried: boolean, told: HeldInventory | undefined): HeldDigests | undefined {
    this.#hasAdvanced = false;
    if (!told) {
      if (carried) this.#silentUntilBoot = this.#clock.boot() + NOT_UNDERSTOOD_MS;
      this.#outstanding = [];
      return undefined;
    }
    for (const kind of INVENTORY_KINDS) if (told[kind] !== undefined) this.#settle(kind, told[kind]);
    this.#outstanding = [];
    return Object.fromEntries([...this.#held].map(([kind, { digest }]) => [kind, digest]));
  }

  get #isSilent(): boolean {
    return this.#clock.boot() < this.#silentUntilBoot;
  }

  #isNew(kind: InventoryKind): boolean {
    const set = this.#reading[kind];
    return set !== undefined && set.digest !== this.#held.get(kind)?.digest;
  }

  #changes(): InventoryReport {
    const bounds = { maxItems: MAX_CHANGES_PER_REPORT, maxLength: MAX_CHANGE_LENGTH };
    const made = INVENTORY_KINDS.flatMap((kind) => {
      const one = bounds.maxItems > 0 && bounds.maxLength > 0 ? this.#changeOf(kind, bounds) : undefined;
      if (!one) return [];
      bounds.maxItems -= one.size.items;
      bounds.maxLength -= one.size.length;
      return [one];
    });
    this.#outstanding = made.map(({ outstanding }) => outstanding);
    return Object.fromEntries(made.map(({ outstanding: { kind }, change }) => [kind, change])) as InventoryReport;
  }

  /** Undefined where nothing is new, or no room is left for a single item. */
  #changeOf(kind: InventoryKind, bounds: ChangeBounds): MadeChange | undefined {
    const set = this.#reading[kind];
    if (!set || !this.#isNew(kind)) return undefined;
    const { digest: base = null, lines: from } = this.#held.get(kind) ?? {};
    const { removed, added, lines } = changeBetween(from ?? NOTHING, set.lines, bounds);
    const told = [...removed, ...added];
    const isWhole = lines === set.lines;
    if (told.length === 0 && !isWhole) return undefined;
    const digest = isWhole ? set.digest : digestOf(lines);
    return {
      change: { base: from ? base : null, digest, total: set.total, added: toItems(added), removed: toItems(removed) },
      outstanding: { kind, digest, lines },
      size: { items: told.length, length: told.reduce((sum, line) => sum + line.length + 1, 0) },
    };
  }

  #settle(kind: InventoryKind, told: string | null): void {
    const sent = this.#outstanding.find((one) => one.kind === kind)?.digest;
    const before = this.#held.get(kind)?.digest ?? null;
    if (sent === told) this.#hasAdvanced = true;
    else if (sent !== undefined && told === before) this.#silentUntilBoot = this.#clock.boot() + SHED_MS;
    if (told === null) this.#held.delete(kind);
    else if (sent === told || before !== told) this.#held.set(kind, { digest: told, lines: this.#linesOf(kind, told) });
  }

  /** The items of a set that was sent or is there now. */
  #linesOf(kind: InventoryKind, digest: string): ItemLines | undefined {
    const known = [this.#outstanding.find((one) => one.kind === kind), this.#reading[kind]];
    return known.find((set) => set?.digest === digest)?.lines;
  }
}
