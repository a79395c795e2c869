import { INVENTORY_KINDS, type InventoryItem, type InventoryKind } from '../../protocol/inventory-messages.js';

/** The stored set of one kind. */
export interface StoredInventory {
  readonly kind: InventoryKind;
  /** As the agent named it; lower-case hex. */
  readonly digest: string;
  readonly listed: number;
}

export type StoredInventories = ReadonlyMap<InventoryKind, StoredInventory>;

/** An item by the id that its key gives it. */
export interface IdentifiedItem {
  readonly id: string;
  readonly item: InventoryItem;
}

/** A change that is to be stored: each item is in it once. */
export interface InventoryUpdate {
  readonly computerId: string;
  readonly kind: InventoryKind;
  /** What was stored before is forgotten. */
  readonly isWhole: boolean;
  readonly digest: string;
  readonly total: number;
  readonly added: readonly IdentifiedItem[];
  readonly removed: readonly IdentifiedItem[];
  /** Fleet instant. */
  readonly at: number;
}

export function isInventoryKind(text: string): text is InventoryKind {
  return INVENTORY_KINDS.some((kind) => kind === text);
}
