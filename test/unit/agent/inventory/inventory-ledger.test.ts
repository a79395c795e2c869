import { expect } from 'chai';
import fc from 'fast-check';

import { InventoryLedger } from '../../../../agent/inventory/inventory-ledger.js';
import { toInventorySet, type InventoryReading } from '../../../../agent/inventory/inventory-set.js';
import type { Report } from '../../../../protocol/heartbeat-messages.js';
import { inventoryKey, type HeldInventory, type PackageItem } from '../../../../protocol/inventory-messages.js';
import type { StoredInventories, StoredInventory } from '../../../../server/telemetry/inventory.js';
import { planInventory } from '../../../../server/telemetry/inventory-rules.js';
import { runs } from '../../../support/property-runs.js';

const packageOf = (name: string, version = '1'): PackageItem => ({
  name,
  version,
  architecture: 'all',
  source: 'dpkg',
});
const names = (count: number, version?: string) =>
  Array.from({ length: count }, (_, index) => packageOf(`p${index}`, version));
const reading = (items: readonly PackageItem[], total = items.length): InventoryReading => ({
  packages: toInventorySet('packages', { items, total }, undefined),
});

/** A manager's store of one computer, by the manager's own rule. */
class Store {
  readonly sets = new Map<'packages' | 'listeningPorts' | 'connections', StoredInventory>();
  readonly items = new Map<string, PackageItem>();

  take(report: Pick<Report, 'inventory' | 'inventoryDigest'>, takes = true): HeldInventory | undefined {
    const stored: StoredInventories = this.sets;
    const { updates, held } = planInventory({ computerId: 'c', report, stored, takes, at: 1 });
    for (const { kind, isWhole, digest, added, removed } of updates) {
      if (isWhole) this.items.clear();
      for (const { id } of removed) this.items.delete(id);
      for (const { id, item } of added) this.items.set(id, item as PackageItem);
      this.sets.set(kind, { kind, digest, listed: this.items.size });
    }
    return held;
  }

  get names(): string[] {
    return [...this.items.values()].map((item) => inventoryKey('packages', item)).sort();
  }
}

describe('the ledger of the inventory', () => {
  let boot = 0;
  const clock = { boot: () => boot };
  const exchange = (ledger: InventoryLedger, store: Store, takes = true) => {
    const part = ledger.next({ reduced: false });
    const held = ledger.answered(part.inventory !== undefined, store.take(part, takes));
    return { part, held };
  };

  it('sends a whole set once, then nothing, then what has changed', () => {
    const [ledger, store] = [new InventoryLedger(clock), new Store()];
    ledger.look(reading(names(3)));
    const first = exchange(ledger, store);
    expect(first.part.inventory?.packages).to.include({ base: null, total: 3 });
    expect(first.held?.packages).to.equal(first.part.inventory?.packages?.digest);
    expect(exchange(ledger, store).part).to.have.keys('inventoryDigest');
    ledger.look(reading([packageOf('p0', '2'), packageOf('p1'), packageOf('new')]));
    const { packages } = exchange(ledger, store).part.inventory!;
    expect(packages?.base).to.equal(first.held?.packages);
    expect(packages?.added.map(({ name, version }) => `${name} ${version}`)).to.deep.equal(['p0 2', 'new 1']);
    expect(packages?.removed.map(({ name, version }) => `${name} ${version}`)).to.deep.equal(['p0 1', 'p2 1']);
    expect(store.names).to.have.length(3);
  });

  it('sends long changes in bounded pieces, as long as they are taken', () => {
    const [ledger, store] = [new InventoryLedger(clock), new Store()];
    ledger.look(reading(names(20_000)));
    let reports = 0;
    do {
      const { part } = exchange(ledger, store);
      expect(part.inventory!.packages!.added.length).to.be.at.most(2000);
      expect(JSON.stringify(part).length).to.be.lessThan(260_000);
      reports += 1;
    } while (ledger.drainsOn);
    expect(reports).to.be.within(10, 12);
    expect(store.names).to.have.length(20_000);
    expect(ledger.hasNews).to.equal(false);
  });

  it('after a restart sends nothing while nothing has changed, and else a whole set', () => {
    const [before, store] = [new InventoryLedger(clock), new Store()];
    before.look(reading(names(3)));
    const { held } = exchange(before, store);
    const same = new InventoryLedger(clock, held);
    same.look(reading(names(3)));
    expect(exchange(same, store).part.inventory).to.equal(undefined);
    const other = new InventoryLedger(clock, held);
    other.look(reading(names(4)));
    expect(exchange(other, store).part.inventory?.packages?.base).to.equal(null);
    expect(store.names).to.have.length(4);
  });

  it('tells whole sets again after the manager has lost them or has others', () => {
    const [ledger, store] = [new InventoryLedger(clock), new Store()];
    ledger.look(reading(names(3)));
    exchange(ledger, store);
    store.sets.clear();
    store.items.clear();
    expect(exchange(ledger, store).held).to.deep.equal({});
    expect(exchange(ledger, store).part.inventory?.packages?.base).to.equal(null);
    expect(store.names).to.have.length(3);
    store.sets.set('packages', { kind: 'packages', digest: 'e'.repeat(64), listed: 3 });
    ledger.look(reading(names(5)));
    // Its base is another: not taken, and the whole set follows.
    exchange(ledger, store);
    expect(exchange(ledger, store).part.inventory?.packages?.base).to.equal(null);
    expect(store.names).to.have.length(5);
  });

  it('waits where the manager has too much to store, and for an hour where it knows of no inventory', () => {
    const [ledger, store] = [new InventoryLedger(clock), new Store()];
    ledger.look(reading(names(3)));
    exchange(ledger, store, false);
    expect([ledger.drainsOn, ledger.hasNews, exchange(ledger, store).part.inventory]).to.deep.equal([
      false,
      false,
      undefined,
    ]);
    boot += 120_000;
    expect(exchange(ledger, store).part.inventory).to.not.equal(undefined);
    ledger.look(reading(names(4)));
    ledger.answered(ledger.next({ reduced: false }).inventory !== undefined, undefined);
    expect(ledger.hasNews).to.equal(false);
    boot += 3_600_000;
    expect(ledger.hasNews).to.equal(true);
  });

  it('keeps quiet in a reduced report and while nothing is gathered, and names what the manager has', () => {
    const [ledger, store] = [new InventoryLedger(clock), new Store()];
    ledger.look(reading(names(3)));
    expect(ledger.next({ reduced: true }).inventory).to.equal(undefined);
    const { part } = exchange(ledger, store);
    ledger.look(undefined);
    expect(ledger.next({ reduced: false })).to.deep.equal({ inventoryDigest: part.inventoryDigest });
  });

  it('ends in the machine’s own set whatever is lost, shed or restarted on the way', () => {
    const step = fc.record({
      items: fc.uniqueArray(fc.integer({ min: 0, max: 12 }), { maxLength: 10 }),
      version: fc.constantFrom('1', '2'),
      fault: fc.constantFrom('none', 'none', 'lost-reply', 'lost-report', 'shed', 'restart', 'manager-forgets'),
    });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 20 }), (steps) => {
        const store = new Store();
        let held: ReturnType<InventoryLedger['answered']>;
        let ledger = new InventoryLedger(clock);
        let last: InventoryReading = {};
        const report = (fault: string) => {
          const part = ledger.next({ reduced: false });
          if (fault === 'lost-report') return;
          const told = store.take(part, fault !== 'shed');
          if (fault !== 'lost-reply') held = ledger.answered(part.inventory !== undefined, told ?? {}) ?? held;
          boot += 200_000;
        };
        for (const { items, version, fault } of steps) {
          last = reading(items.map((index) => packageOf(`p${index}`, version)));
          ledger.look(last);
          report(fault);
          if (fault === 'restart') ledger = new InventoryLedger(clock, held);
          if (fault === 'manager-forgets') store.sets.clear();
        }
        ledger.look(last);
        for (let round = 0; round < 3; round += 1) report('none');
        expect(store.names).to.deep.equal([...(last.packages?.lines.keys() ?? [])].sort());
      }),
      runs(300),
    );
  });
});
