import type { InventoryKind } from '../../protocol/inventory-messages.js';
import type { Sql } from '../database/sql.js';
import type { Exchange } from '../heartbeats/exchange.js';
import type { InventoryUpdate, StoredInventories, StoredInventory } from './inventory.js';
import { readInventories, storeInventories } from './inventory-repository.js';
import { concernsInventory, planInventory, type InventoryPlan } from './inventory-rules.js';

export interface InventoryAsk {
  readonly exchange: Exchange;
  readonly isStateNew: boolean;
}

/** By computer id; whoever is not in it was not read. */
export type InventoryBackground = ReadonlyMap<string, StoredInventories>;

/** What reports and inventories have to do with each other; nothing, and no statement, for a report that brings no change. */
export interface ReportInventory {
  read(sql: Sql, reports: readonly InventoryAsk[]): Promise<InventoryBackground>;
  /** `takes`: whether changes are stored now. */
  plan(exchange: Exchange, background: InventoryBackground, takes: boolean): InventoryPlan;
  store(sql: Sql, updates: readonly InventoryUpdate[]): Promise<void>;
}

export function createReportInventory(): ReportInventory {
  return {
    async read(sql, reports) {
      const concerned = reports.filter(({ exchange, isStateNew }) => concernsInventory(exchange.report, isStateNew));
      if (concerned.length === 0) return new Map();
      const ids = concerned.map(({ exchange }) => exchange.identity.computerId);
      const background = new Map(ids.map((id) => [id, new Map<InventoryKind, StoredInventory>()]));
      for (const one of await readInventories(sql, ids)) background.get(one.computerId)?.set(one.kind, one);
      return background;
    },
    plan: ({ identity: { computerId }, report, receivedAt: at }, background, takes) =>
      planInventory({ computerId, report, stored: background.get(computerId), takes, at }),
    store: storeInventories,
  };
}
