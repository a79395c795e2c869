import { toRfc3339 } from '../../lib/clock.js';
import {
  containing,
  keysetOf,
  mapPage,
  pageOf,
  parsePage,
  type ListOrder,
  type Page,
  type PageQuery,
  type RowKey,
} from '../admin-api/page.js';
import type { Sql } from '../database/sql.js';
import type { FleetClock } from '../fleet-clock/fleet-clock.js';
import { toMetrics } from './metrics-view.js';
import type { ConnectionDto, InventoryDto, ListeningPortDto, MetricsDto, PackageDto } from './telemetry-dto.js';

/** What agents told of their computers; the caller has checked that the computer may be seen. */
export interface TelemetryReading {
  inventory(computerId: string): Promise<InventoryDto>;
  packages(computerId: string, query: PageQuery): Promise<Page<PackageDto>>;
  listeningPorts(computerId: string, query: PageQuery): Promise<Page<ListeningPortDto>>;
  connections(computerId: string, query: PageQuery): Promise<Page<ConnectionDto>>;
  metrics(computerId: string): Promise<MetricsDto>;
}

interface ItemList<Row extends { readonly id: string }> {
  readonly table: string;
  readonly columns: readonly string[];
  readonly order: ListOrder;
  /** Text that `q` is looked for in. */
  readonly searched: readonly string[];
  readonly keyOf: (row: Row) => RowKey;
}

interface PackageRow {
  readonly id: string;
  readonly name: string;
  readonly version: string;
  readonly architecture: string;
  readonly source: string;
}

interface SocketRow {
  readonly id: string;
  readonly protocol: string;
  readonly uid: number | string | null;
  readonly process_id: number | string | null;
  readonly process_name: string | null;
}

interface PortRow extends SocketRow {
  readonly address: string;
  readonly port: number;
}

interface ConnectionRow extends SocketRow {
  readonly local_address: string;
  readonly local_port: number;
  readonly remote_address: string;
  readonly remote_port: number;
}

const OWNER = ['uid', 'process_id', 'process_name'];

const PACKAGES: ItemList<PackageRow> = {
  table: 'computer_packages',
  columns: ['id', 'name', 'version', 'architecture', 'source'],
  order: {
    list: 'computers/inventory/packages',
    keys: { name: { column: 'computer_packages.name', type: 'text' } },
    default: 'name',
    id: 'computer_packages.id',
  },
  searched: ['name'],
  keyOf: ({ name, id }) => [name, id],
};

const LISTENING_PORTS: ItemList<PortRow> = {
  table: 'computer_listening_ports',
  columns: ['id', 'protocol', 'address', 'port', ...OWNER],
  order: {
    list: 'computers/inventory/listening-ports',
    keys: { port: { column: 'computer_listening_ports.port', type: 'integer' } },
    default: 'port',
    id: 'computer_listening_ports.id',
  },
  searched: ['address', 'process_name'],
  keyOf: ({ port, id }) => [port, id],
};

const CONNECTIONS: ItemList<ConnectionRow> = {
  table: 'computer_connections',
  columns: ['id', 'protocol', 'local_address', 'local_port', 'remote_address', 'remote_port', ...OWNER],
  order: {
    list: 'computers/inventory/connections',
    keys: { remoteAddress: { column: 'computer_connections.remote_address', type: 'text' } },
    default: 'remoteAddress',
    id: 'computer_connections.id',
  },
  searched: ['remote_address', 'process_name'],
  keyOf: ({ remote_address: address, id }) => [address, id],
};

/** The order of each list of an inventory. */
export const INVENTORY_ORDERS = {
  packages: PACKAGES.order,
  listeningPorts: LISTENING_PORTS.order,
  connections: CONNECTIONS.order,
} as const;

export interface TelemetryReadingDeps {
  readonly sql: Sql;
  readonly clock: Pick<FleetClock, 'toWall'>;
}

export function createTelemetryReading({ sql, clock }: TelemetryReadingDeps): TelemetryReading {
  const shown = (at: number | string): string => toRfc3339(clock.toWall(Number(at)));
  return {
    inventory: (computerId) => readStandings(sql, computerId, shown),
    packages: (computerId, query) => listItems(sql, PACKAGES, { computerId, query }),
    listeningPorts: async (computerId, query) =>
      mapPage(await listItems(sql, LISTENING_PORTS, { computerId, query }), toListeningPort),
    connections: async (computerId, query) =>
      mapPage(await listItems(sql, CONNECTIONS, { computerId, query }), toConnection),
    metrics: (computerId) => readMetrics(sql, computerId, shown),
  };
}

async function listItems<Row extends { readonly id: string }>(
  sql: Sql,
  { table, columns, order, searched, keyOf }: ItemList<Row>,
  { computerId, query }: { readonly computerId: string; readonly query: PageQuery },
): Promise<Page<Row>> {
  const page = parsePage(query, order);
  const parameters: unknown[] = [computerId];
  const conditions = [`${table}.computer_id = $1`];
  if (query.q !== undefined) {
    parameters.push(containing(query.q));
    conditions.push(`(${searched.map((name) => `${table}.${name} ILIKE $2 ESCAPE '\\'`).join(' OR ')})`);
  }
  const keyset = keysetOf(page, parameters.length + 1);
  parameters.push(...keyset.parameters, page.limit + 1);
  const rows = await sql.query<Row>(
    `SELECT ${columns.map((name) => `${table}.${name}`).join(', ')} FROM ${table}
     WHERE ${conditions.join(' AND ')} AND ${keyset.condition} ORDER BY ${keyset.orderBy} LIMIT $${parameters.length}`,
    parameters,
  );
  return pageOf(rows, page, keyOf);
}

async function readStandings(
  sql: Sql,
  computerId: string,
  shown: (at: number | string) => string,
): Promise<InventoryDto> {
  const rows = await sql.query<{ kind: string; total: number; listed: number; changed_fleet_ms: number | string }>(
    `SELECT computer_inventories.kind, computer_inventories.total, computer_inventories.listed,
       computer_inventories.changed_fleet_ms
     FROM computer_inventories WHERE computer_inventories.computer_id = $1 ORDER BY computer_inventories.kind`,
    [computerId],
  );
  return {
    kinds: rows.map(({ kind, total, listed, changed_fleet_ms: at }) => ({ kind, total, listed, changedAt: shown(at) })),
  };
}

async function readMetrics(sql: Sql, computerId: string, shown: (at: number | string) => string): Promise<MetricsDto> {
  const [row] = await sql.query<{ counters: unknown; updated_fleet_ms: number | string }>(
    `SELECT heartbeat_rings.counters, heartbeat_rings.updated_fleet_ms FROM heartbeat_rings
     WHERE heartbeat_rings.computer_id = $1`,
    [computerId],
  );
  return toMetrics(row?.counters, row ? shown(row.updated_fleet_ms) : null);
}

function ownerOf({ uid, process_id: processId, process_name: processName }: SocketRow) {
  return { uid: numberOrNull(uid), processId: numberOrNull(processId), processName };
}

function toListeningPort(row: PortRow): ListeningPortDto {
  const { id, protocol, address, port } = row;
  return { id, protocol, address, port, ...ownerOf(row) };
}

function toConnection(row: ConnectionRow): ConnectionDto {
  const { id, protocol, local_address: localAddress, local_port: localPort } = row;
  const { remote_address: remoteAddress, remote_port: remotePort } = row;
  return { id, protocol, localAddress, localPort, remoteAddress, remotePort, ...ownerOf(row) };
}

function numberOrNull(value: number | string | null): number | null {
  return value === null ? null : Number(value);
}
