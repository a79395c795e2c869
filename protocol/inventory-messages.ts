import { array, integer, nullable, object, oneOf, optional, sha256Hex, string, type TypeOf } from '../lib/schema.js';

/** What a computer has: each kind is a set of items, reported as changes against the set that the manager holds. */
export const INVENTORY_KINDS = ['packages', 'listeningPorts', 'connections'] as const;
export type InventoryKind = (typeof INVENTORY_KINDS)[number];

/** A set lists at most so many items; `total` tells of the surplus. */
export const MOST_ITEMS: Readonly<Record<InventoryKind, number>> = {
  packages: 20_000,
  listeningPorts: 5000,
  connections: 5000,
};
/** Added and removed ones of one kind in one report: a longer change takes several. */
export const MAX_CHANGES_PER_REPORT = 2000;
/** Longest text of an item: names, versions. */
export const MAX_ITEM_TEXT = 255;
export const MAX_ADDRESS_TEXT = 64;

export const PACKAGE_SOURCES = ['dpkg', 'rpm', 'apk'] as const;
export const SOCKET_PROTOCOLS = ['tcp', 'tcp6', 'udp', 'udp6'] as const;

const text = string({ min: 1, max: MAX_ITEM_TEXT });
const address = string({ min: 1, max: MAX_ADDRESS_TEXT });
const port = integer(0, 65_535);
const HIGHEST_ID = 4_294_967_295;

/** The process that has a socket, where the agent may see it, and the user it belongs to. */
const owner = {
  uid: optional(integer(0, HIGHEST_ID)),
  process: optional(object({ pid: integer(1, HIGHEST_ID), name: string({ max: MAX_ITEM_TEXT }) })),
};

export const packageSchema = object({
  name: text,
  version: text,
  architecture: string({ max: MAX_ITEM_TEXT }),
  source: oneOf(...PACKAGE_SOURCES),
});
export type PackageItem = TypeOf<typeof packageSchema>;

export const listeningPortSchema = object({ protocol: oneOf(...SOCKET_PROTOCOLS), address, port, ...owner });
export type ListeningPortItem = TypeOf<typeof listeningPortSchema>;

export const connectionSchema = object({
  protocol: oneOf(...SOCKET_PROTOCOLS),
  localAddress: address,
  localPort: port,
  remoteAddress: address,
  remotePort: port,
  ...owner,
});
export type ConnectionItem = TypeOf<typeof connectionSchema>;

export interface InventoryItems {
  readonly packages: PackageItem;
  readonly listeningPorts: ListeningPortItem;
  readonly connections: ConnectionItem;
}
export type InventoryItem = InventoryItems[InventoryKind];

const MOST_THERE_ARE = 1_000_000_000;
const packages = array(packageSchema, MAX_CHANGES_PER_REPORT);
const listeningPorts = array(listeningPortSchema, MAX_CHANGES_PER_REPORT);
const connections = array(connectionSchema, MAX_CHANGES_PER_REPORT);

/**
 * `base`: the digest of the set that the change is against; null: there is none, and what was is forgotten. `digest`: of the
 * set after the change. `total`: how many there are, listed or not. What is added takes the place of an item of its key.
 */
const change = { base: nullable(sha256Hex), digest: sha256Hex, total: integer(0, MOST_THERE_ARE) };

export const inventorySchema = object({
  packages: optional(object({ ...change, added: packages, removed: packages })),
  listeningPorts: optional(object({ ...change, added: listeningPorts, removed: listeningPorts })),
  connections: optional(object({ ...change, added: connections, removed: connections })),
});
export type InventoryReport = TypeOf<typeof inventorySchema>;

/** One change without regard to its kind. */
export interface InventoryChange<Item extends InventoryItem = InventoryItem> {
  readonly base: string | null;
  readonly digest: string;
  readonly total: number;
  readonly added: readonly Item[];
  readonly removed: readonly Item[];
}

const held = optional(nullable(sha256Hex));

/** The digests of the sets that the manager holds now; null: it has none, and the agent sends the whole set. */
export const heldInventorySchema = object({ packages: held, listeningPorts: held, connections: held });
export type HeldInventory = TypeOf<typeof heldInventorySchema>;

const KEYS: { readonly [K in InventoryKind]: (item: InventoryItems[K]) => readonly unknown[] } = {
  packages: ({ source, name, architecture, version }) => [source, name, architecture, version],
  listeningPorts: (item) => [item.protocol, item.address, item.port],
  connections: (item) => [item.protocol, item.localAddress, item.localPort, item.remoteAddress, item.remotePort],
};

/** What tells an item from others of its kind. */
export function inventoryKey<K extends InventoryKind>(kind: K, item: InventoryItems[K]): string {
  return JSON.stringify(KEYS[kind](item));
}

/** What `inventoryDigest` of a report is taken over: a line for each kind that has a set. */
export function heldText(digests: Readonly<Partial<Record<InventoryKind, string | null | undefined>>>): string {
  return INVENTORY_KINDS.flatMap((kind) => (digests[kind] ? [`${kind} ${digests[kind]}\n`] : [])).join('');
}
