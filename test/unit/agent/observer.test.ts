import { expect } from 'chai';

import { Observer, type ObserverDeps } from '../../../agent/observer.js';
import type { Store } from '../../../agent/spool/durable-store.js';
import type { Mended } from '../../../agent/spool/findings.js';
import { StateStore } from '../../../agent/state-store.js';
import { createLog } from '../../../lib/log.js';
import { catalogueDefaults } from '../../../policies/settings-catalogue.js';
import { FakeClock } from '../../support/fake-clock.js';

/** Of a disk that was away when the agent was started, and comes back. */
class ReturningStore implements Store {
  failure: Error | undefined = new Error('no space');
  readonly content = new Map<string, string>();

  constructor(private readonly mended: Mended | undefined) {}

  write: Store['write'] = async (operations) => {
    if (this.failure) throw this.failure;
    for (const operation of operations) if (operation.type === 'put') this.content.set(operation.key, operation.value);
  };
  get = async (key: string) => this.content.get(key);
  scan = async () => undefined;
  recover = async () => {
    this.failure = undefined;
    return this.mended;
  };
}

describe('the look of an agent that was started without its disk', () => {
  for (const [name, mended, restarts] of [
    ['reads what it holds when it is back, and begins again', undefined, 1],
    ['has nothing to read any more where its database was set aside', { reason: 'damaged', setAside: '/x' }, 0],
  ] as const)
    it(name, async () => {
      const store = new ReturningStore(mended);
      const state = await StateStore.open(store, { owner: 'computer/key', firstSequence: 1 });
      expect(state.isRead).to.equal(false);
      let ends = 0;
      const observer = new Observer({
        clock: new FakeClock(),
        log: createLog({ name: 'test', level: 'silent' }),
        store,
        state,
        spool: {
          get failure() {
            return store.failure;
          },
          reopen: async () => ({ mended: await store.recover(), ...(mended ? { lost: [] } : {}) }),
          hasRoom: () => true,
          carry: () => undefined,
          append: async () => undefined,
          tellRefused: async () => undefined,
        },
        settings: { values: catalogueDefaults(), reload: () => undefined },
        findings: { tell: async () => undefined },
        journal: { rewrite: async () => undefined },
        restart: () => (ends += 1),
        makeCollectors: () => ({ snapshot: async () => ({ components: [], errors: [], counters: {} }) }),
        parts: () => [],
      } as unknown as ObserverDeps);
      await observer.observe();
      expect([state.isRead, ends]).to.deep.equal([true, restarts]);
      store.failure = new Error('again');
      await observer.observe();
      expect([state.isRead, ends], 'once').to.deep.equal([true, restarts]);
    });
});
