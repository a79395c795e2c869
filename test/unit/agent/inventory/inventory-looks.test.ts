import { expect } from 'chai';

import { InventoryLooks } from '../../../../agent/inventory/inventory-looks.js';
import type { PackageItem } from '../../../../protocol/inventory-messages.js';
import { FakeClock } from '../../../support/fake-clock.js';

describe('the looks at the inventory', () => {
  it('read no package again while its database has not changed', async () => {
    const clock = new FakeClock();
    let reads = 0;
    const item = (version: string): PackageItem => ({
      get name() {
        reads += 1;
        return 'p';
      },
      version,
      architecture: 'all',
      source: 'dpkg',
    });
    const nothing = { items: [], total: 0 };
    let packages = { items: [item('1')], total: 1 };
    const looks = new InventoryLooks({
      clock,
      sources: {
        packages: { name: 'packages', collect: () => Promise.resolve(packages) },
        sockets: {
          name: 'sockets',
          collect: () => Promise.resolve({ listeningPorts: nothing, connections: nothing }),
        },
      },
    });
    const look = async () => {
      looks.look();
      await clock.advance(60_000);
      return looks.look().reading.packages?.digest;
    };
    const first = await look();
    expect(first).to.be.a('string');
    const before = reads;
    expect(await look()).to.equal(first);
    expect(reads).to.equal(before);
    packages = { items: [item('2')], total: 1 };
    await look();
    expect(await look()).to.not.equal(first);
  });
});
