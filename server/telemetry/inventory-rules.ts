import { hash } from 'node:crypto';

import type { Report } from '../../protocol/heartbeat-messages.js';
import {
  heldText,
  INVENTORY_KINDS,
  inventoryKey,
  MAX_CHANGES_PER_REPORT,
  MOST_ITEMS,
  type HeldInventory,
  type InventoryChange,
  type InventoryItem,
  type InventoryItems,
  type InventoryKind,
} from '../../protocol/inventory-messages.js';
import type { IdentifiedItem, InventoryUpdate, StoredInventories } from './inventory.js';

/** What a report's inventory comes to. */
export interface InventoryPlan {
  readonly updates: readonly InventoryUpdate[];
  /** For the orders; undefined where they need to say nothing of it. */
  readonly held: HeldInventory | undefined;
}

export const NO_INVENTORY: InventoryPlan = { updates: [], held: undefined };

export interface InventoryFacts {
  readonly computerId: string;
  readonly report: Pick<Report, 'inventory' | 'inventoryDigest'>;
  /** Undefined where nothing was read, since nothing of the inventory is new. */
  readonly stored: StoredInventories | undefined;
  /** Whether changes are stored now; those of a repeat were with the first. */
  readonly takes: boolean;
  readonly at: number;
}

/** Whether a report's inventory has to be looked at: it brings changes, or its state is new in any respect. */
export function concernsInventory(
  { inventory, inventoryDigest }: InventoryFacts['report'],
  isStateNew: boolean,
): boolean {
  return inventory !== undefined || (isStateNew && inventoryDigest !== undefined);
}

/** A change is taken against the stored set, or as the whole one. What is not taken the agent learns by the digest. */
export function planInventory({ computerId, report, stored, takes, at }: InventoryFacts): InventoryPlan {
  if (!stored) return NO_INVENTORY;
  const updates = INVENTORY_KINDS.flatMap((kind) => {
    const change: InventoryChange | undefined = report.inventory?.[kind];
    if (!change || !takes || !isTaken(kind, change, stored)) return [];
    const { digest, total, base } = change;
    const removed = identified(kind, change.removed);
    return [
      { computerId, kind, isWhole: base === null, digest, total, added: identified(kind, change.added), removed, at },
    ];
  });
  const digests = digestsAfter(stored, updates);
  const isToldOf = report.inventory !== undefined || report.inventoryDigest !== hash('sha256', heldText(digests));
  return { updates, held: isToldOf ? toHeld(digests) : undefined };
}

/** Against the stored set, and within the bounds: one that grows beyond them is asked for whole. What is removed may not be there. */
function isTaken(kind: InventoryKind, { base, added }: InventoryChange, stored: StoredInventories): boolean {
  if (base === null) return true;
  const known = stored.get(kind);
  const most = MOST_ITEMS[kind] + MAX_CHANGES_PER_REPORT;
  return known?.digest === base && known.listed + added.length <= most;
}

type Digests = Readonly<Partial<Record<InventoryKind, string>>>;

function digestsAfter(stored: StoredInventories, updates: readonly InventoryUpdate[]): Digests {
  return Object.fromEntries([
    ...[...stored.values()].map(({ kind, digest }) => [kind, digest] as const),
    ...updates.map(({ kind, digest }) => [kind, digest] as const),
  ]) as Digests;
}

function toHeld(digests: Digests): HeldInventory {
  return Object.fromEntries(INVENTORY_KINDS.map((kind) => [kind, digests[kind] ?? null])) as HeldInventory;
}

/** Each once: of several with the same key the last counts. */
function identified(kind: InventoryKind, items: readonly InventoryItem[]): IdentifiedItem[] {
  const byId = new Map(items.map((item) => [itemId(kind, item), item]));
  return [...byId].map(([id, item]) => ({ id, item }));
}

/** A UUID made of the item's key. */
export function itemId(kind: InventoryKind, item: InventoryItem): string {
  const digest = hash('sha256', inventoryKey(kind, item as InventoryItems[typeof kind] as never));
  return [
    digest.slice(0, 8),
    digest.slice(8, 12),
    digest.slice(12, 16),
    digest.slice(16, 20),
    digest.slice(20, 32),
  ].join('-');
}

/** How many items a report brings and takes, for whoever shares a transaction among reports. */
export function changedItems({ inventory = {} }: Pick<Report, 'inventory'>): number {
  return INVENTORY_KINDS.reduce(
    (sum, kind) => sum + (inventory[kind]?.added.length ?? 0) + (inventory[kind]?.removed.length ?? 0),
    0,
  );
}
