import { hash } from 'node:crypto';

import { canonicalJson, type JsonValue } from '../../lib/canonical-json.js';
import {
  inventoryKey,
  type InventoryItem,
  type InventoryItems,
  type InventoryKind,
} from '../../protocol/inventory-messages.js';

/** The items of one kind by their keys, each as canonical JSON. */
export type ItemLines = ReadonlyMap<string, string>;

export interface InventorySet {
  readonly lines: ItemLines;
  /** SHA-256 of the sorted lines; lower-case hex. */
  readonly digest: string;
  /** How many there are, listed or not. */
  readonly total: number;
}

/** What a look at the machine gave; absent is what was not looked at yet, or could never be. */
export type InventoryReading = Readonly<Partial<Record<InventoryKind, InventorySet>>>;

/** The former set itself where nothing has changed. */
export function toInventorySet<K extends InventoryKind>(
  kind: K,
  { items, total }: { readonly items: readonly InventoryItems[K][]; readonly total: number },
  former: InventorySet | undefined,
): InventorySet {
  const lines = new Map(
    items.map((item) => [inventoryKey(kind, item), canonicalJson(item as unknown as JsonValue)] as const),
  );
  const digest = digestOf(lines);
  return former?.digest === digest && former.total === total ? former : { lines, digest, total };
}

export function digestOf(lines: ItemLines): string {
  return hash('sha256', [...lines.values()].sort().join('\n'));
}

/** What leads from one set to another, no more than the bounds allow. */
export interface BoundedChange {
  readonly removed: readonly string[];
  readonly added: readonly string[];
  /** The items after it: the wanted ones themselves where the whole change fits. */
  readonly lines: ItemLines;
}

export interface ChangeBounds {
  readonly maxItems: number;
  /** Of the items' JSON, in characters. */
  readonly maxLength: number;
}

/** What goes is first, so that a set never grows beyond both. */
export function changeBetween(from: ItemLines, to: ItemLines, bounds: ChangeBounds): BoundedChange {
  const budget = new Budget(bounds);
  const gone = [...from].filter(([key]) => !to.has(key));
  const removed = budget.take(gone);
  const fresh = [...to].filter(([key, line]) => from.get(key) !== line);
  const added = budget.take(fresh);
  const isWhole = removed.length === gone.length && added.length === fresh.length;
  return { removed: linesOf(removed), added: linesOf(added), lines: isWhole ? to : applied(from, removed, added) };
}

type Entry = readonly [key: string, line: string];

class Budget {
  #items: number;
  #length: number;

  constructor({ maxItems, maxLength }: ChangeBounds) {
    this.#items = maxItems;
    this.#length = maxLength;
  }

  take(entries: readonly Entry[]): Entry[] {
    const end = entries.findIndex(([, line]) => {
      this.#items -= 1;
      this.#length -= line.length + 1;
      return this.#items < 0 || this.#length < 0;
    });
    return end < 0 ? [...entries] : entries.slice(0, end);
  }
}

function applied(from: ItemLines, removed: readonly Entry[], added: readonly Entry[]): ItemLines {
  const lines = new Map(from);
  for (const [key] of removed) lines.delete(key);
  for (const [key, line] of added) lines.set(key, line);
  return lines;
}

function linesOf(entries: readonly Entry[]): string[] {
  return entries.map(([, line]) => line);
}

export function toItems(lines: readonly string[]): InventoryItem[] {
  return lines.map((line) => JSON.parse(line) as InventoryItem);
}
