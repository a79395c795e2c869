import {
  INVENTORY_KINDS,
  type ConnectionItem,
  type InventoryItem,
  type InventoryKind,
  type ListeningPortItem,
  type PackageItem,
} from '../../protocol/inventory-messages.js';
import type { Sql } from '../database/sql.js';
import { isInventoryKind, type IdentifiedItem, type InventoryUpdate, type StoredInventory } from './inventory.js';

interface Column<Item> {
  readonly name: string;
  readonly type: 'text' | 'integer' | 'bigint';
  readonly valueOf: (item: Item) => string | number | null;
}

interface ItemTable<Item> {
  readonly name: string;
  /** What its rows are sorted by within a computer, before the id. */
  readonly order: Column<Item>;
  readonly columns: readonly Column<Item>[];
}

type Owned = Pick<ListeningPortItem, 'uid' | 'process'>;

const OWNER_COLUMNS: readonly Column<Owned>[] = [
  { name: 'uid', type: 'bigint', valueOf: ({ uid }) => uid ?? null },
  { name: 'process_id', type: 'bigint', valueOf: ({ process }) => process?.pid ?? null },
  { name: 'process_name', type: 'text', valueOf: ({ process }) => process?.name ?? null },
];

const PACKAGES: ItemTable<PackageItem> = {
  name: 'computer_packages',
  order: { name: 'name', type: 'text', valueOf: ({ name }) => name },
  columns: [
    { name: 'version', type: 'text', valueOf: ({ version }) => version },
    { name: 'architecture', type: 'text', valueOf: ({ architecture }) => architecture },
    { name: 'source', type: 'text', valueOf: ({ source }) => source },
  ],
};

const LISTENING_PORTS: ItemTable<ListeningPortItem> = {
  name: 'computer_listening_ports',
  order: { name: 'port', type: 'integer', valueOf: ({ port }) => port },
  columns: [
    { name: 'protocol', type: 'text', valueOf: ({ protocol }) => protocol },
    { name: 'address', type: 'text', valueOf: ({ address }) => address },
    ...OWNER_COLUMNS,
  ],
};

const CONNECTIONS: ItemTable<ConnectionItem> = {
  name: 'computer_connections',
  order: { name: 'remote_address', type: 'text', valueOf: ({ remoteAddress }) => remoteAddress },
  columns: [
    { name: 'protocol', type: 'text', valueOf: ({ protocol }) => protocol },
    { name: 'local_address', type: 'text', valueOf: ({ localAddress }) => localAddress },
    { name: 'local_port', type: 'integer', valueOf: ({ localPort }) => localPort },
    { name: 'remote_port', type: 'integer', valueOf: ({ remotePort }) => remotePort },
    ...OWNER_COLUMNS,
  ],
};

const TABLES = {
  packages: PACKAGES,
  listeningPorts: LISTENING_PORTS,
  connections: CONNECTIONS,
} as unknown as Readonly<Record<InventoryKind, ItemTable<InventoryItem>>>;

const READ = `
SELECT computer_inventories.computer_id, computer_inventories.kind, computer_inventories.digest, computer_inventories.listed
FROM computer_inventories WHERE computer_inventories.computer_id = ANY($1::uuid[])`;

export interface ReadInventory extends StoredInventory {
  readonly computerId: string;
}

/** Which sets are stored of these computers. */
export async function readInventories(sql: Sql, computerIds: readonly string[]): Promise<ReadInventory[]> {
  const rows = await sql.query<{ computer_id: string; kind: string; digest: Buffer; listed: number }>(READ, [
    computerIds,
  ]);
  return rows.flatMap(({ computer_id: computerId, kind, digest, listed }) =>
    isInventoryKind(kind) ? [{ computerId, kind, digest: digest.toString('hex'), listed }] : [],
  );
}

/** Stores changes under the locks of their live rows; no statement for what does not occur. */
export async function storeInventories(sql: Sql, updates: readonly InventoryUpdate[]): Promise<void> {
  for (const kind of INVENTORY_KINDS) {
    const ofKind = updates.filter((update) => update.kind === kind);
    if (ofKind.length > 0) await storeKind(sql, TABLES[kind], ofKind);
  }
}

async function storeKind(
  sql: Sql,
  table: ItemTable<InventoryItem>,
  updates: readonly InventoryUpdate[],
): Promise<void> {
  const whole = updates.filter(({ isWhole }) => isWhole).map(({ computerId }) => computerId);
  if (whole.length > 0) await sql.query(`DELETE FROM ${table.name} WHERE computer_id = ANY($1::uuid[])`, [whole]);
  const removed = rowsOf(updates, ({ isWhole, removed: items }) => (isWhole ? [] : items));
  if (removed.length > 0) await sql.query(removal(table), keyColumns(table, removed));
  const added = rowsOf(updates, ({ added: items }) => items);
  if (added.length > 0)
    await sql.query(insertion(table), [
      ...keyColumns(table, added),
      ...table.columns.map(({ valueOf }) => added.map(({ item }) => valueOf(item))),
    ]);
  await sql.query(standing(table), [
    updates.map(({ computerId }) => computerId),
    updates.map(({ kind }) => kind),
    updates.map(({ digest }) => Buffer.from(digest, 'hex')),
    updates.map(({ total }) => total),
    updates.map(({ at }) => Math.floor(at)),
  ]);
}

interface ItemRow extends IdentifiedItem {
  readonly computerId: string;
}

function rowsOf(
  updates: readonly InventoryUpdate[],
  itemsOf: (update: InventoryUpdate) => readonly IdentifiedItem[],
): ItemRow[] {
  return updates.flatMap((update) =>
    itemsOf(update).map(({ id, item }) => ({ computerId: update.computerId, id, item })),
  );
}

function keyColumns({ order }: ItemTable<InventoryItem>, rows: readonly ItemRow[]): unknown[] {
  return [
    rows.map(({ computerId }) => computerId),
    rows.map(({ item }) => order.valueOf(item)),
    rows.map(({ id }) => id),
  ];
}

function removal({ name, order }: ItemTable<InventoryItem>): string {
  return `
DELETE FROM ${name} USING unnest($1::uuid[], $2::${order.type}[], $3::uuid[]) AS input (computer_id, ${order.name}, id)
WHERE ${name}.computer_id = input.computer_id AND ${name}.${order.name} = input.${order.name} AND ${name}.id = input.id`;
}

function insertion({ name, order, columns }: ItemTable<InventoryItem>): string {
  const names = ['computer_id', order.name, 'id', ...columns.map((column) => column.name)].join(', ');
  const arrays = [order.type, 'uuid', ...columns.map(({ type }) => type)].map(
    (type, index) => `$${index + 2}::${type}[]`,
  );
  const changes = columns.map((column) => `${column.name} = EXCLUDED.${column.name}`).join(', ');
  return `
INSERT INTO ${name} (${names})
SELECT ${names} FROM unnest($1::uuid[], ${arrays.join(', ')}) AS input (${names})
ORDER BY computer_id, ${order.name}, id
ON CONFLICT (computer_id, ${order.name}, id) DO UPDATE SET ${changes}`;
}

/** Counted, so that the bound holds whatever was added twice or removed in vain. */
function standing({ name }: ItemTable<InventoryItem>): string {
  return `
INSERT INTO computer_inventories (computer_id, kind, digest, total, listed, changed_fleet_ms)
SELECT input.computer_id, input.kind, input.digest, input.total,
  (SELECT count(*) FROM ${name} WHERE ${name}.computer_id = input.computer_id), input.changed_fleet_ms
FROM unnest($1::uuid[], $2::text[], $3::bytea[], $4::integer[], $5::bigint[])
  AS input (computer_id, kind, digest, total, changed_fleet_ms)
ORDER BY input.computer_id
ON CONFLICT (computer_id, kind) DO UPDATE SET
  digest = EXCLUDED.digest, total = EXCLUDED.total, listed = EXCLUDED.listed,
  changed_fleet_ms = EXCLUDED.changed_fleet_ms`;
}
