import { expect } from 'chai';
import { existsSync, mkdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import { isolationFile } from '../../../agent/firewall/isolation-file.js';
import type { NftScript } from '../../../agent/firewall/nft-text.js';
import { dataDirectory, readIdentity } from '../../../agent/data-directory.js';
import { enrollDirectory } from '../../../agent/enroll-directory.js';
import { ownerOf } from '../../../agent/identity-check.js';
import { DurableStore, type Store } from '../../../agent/spool/durable-store.js';
import { StateStore, type Isolation } from '../../../agent/state-store.js';
import { parseManagerUrl } from '../../../agent/transport/tls-connection.js';
import { createSystemClock, readBootId } from '../../../lib/clock.js';
import { FakeManager } from '../../support/agent-fake-manager.js';
import { composeInProcess, enrollInProcess } from '../../support/agent-in-process.js';
import { temporaryFolder } from '../../support/agent-process.js';

const ISOLATION: Isolation = {
  commandId: 'c0a8a3a2-2f61-4c9d-9b7e-1f7d3c5a9e10',
  since: Date.UTC(2026, 10, 22),
  allow: [{ ip: '10.0.0.5', ports: [22, '8000-8080'], protocol: 'TCP' }],
  releaseDigest: 'ab'.repeat(32),
};
const OWNER = 'computer/key';

describe('the isolation beside the database of the agent', function () {
  this.timeout(20_000);
  const clock = createSystemClock();
  let folder: ReturnType<typeof temporaryFolder>;
  const directory = () => dataDirectory(join(folder.path, 'web1'));
  const path = () => join(directory().path, 'isolation.json');

  beforeEach(() => (folder = temporaryFolder()));
  afterEach(() => folder.remove());

  async function withState<T>(owner: string, work: (state: StateStore) => Promise<T>): Promise<T> {
    const { store } = await DurableStore.open(directory().store, clock);
    try {
      const file = isolationFile(directory(), owner);
      return await work(await StateStore.open(store, { owner, firstSequence: 1, isolationFile: file }));
    } finally {
      await store.close();
    }
  }
  const isolationNow = (owner = OWNER) => withState(owner, async ({ isolation }) => isolation);
  const set = (isolation: Isolation | undefined) => withState(OWNER, (state) => state.setIsolation(isolation));
  /** Nothing of the database can be read any more. */
  const ruin = (): void => writeFileSync(join(directory().store, 'CURRENT'), 'nothing\n');
  const lose = (): void => rmSync(directory().store, { recursive: true });

  it('outlives a database that is damaged, until it is ended', async () => {
    await set(ISOLATION);
    expect(statSync(path()).mode & 0o777).to.equal(0o600);
    ruin();
    expect(await isolationNow()).to.deep.equal(ISOLATION);
    lose();
    expect(await isolationNow()).to.deep.equal(ISOLATION);
    await set(undefined);
    expect(await isolationNow()).to.equal(undefined);
    lose();
    expect(await isolationNow()).to.equal(undefined);
  });

  it('is the database’s alone where the copy is damaged, and nobody else’s', async () => {
    await set(ISOLATION);
    for (const text of ['', '{"owner"', JSON.stringify({ owner: OWNER, isolation: { commandId: 1 } })]) {
      writeFileSync(path(), text);
      expect(await isolationNow(), text).to.deep.equal(ISOLATION);
    }
    await set(ISOLATION);
    lose();
    expect(await isolationNow('another/key')).to.equal(undefined);
  });

  it('begins and ends though the database cannot be written, and is stored once it can', async () => {
    let isFull = true;
    const content = new Map<string, string>();
    const small: Store = {
      failure: undefined,
      get: async (key) => content.get(key),
      scan: async () => undefined,
      recover: async () => undefined,
      write: async (operations) => {
        if (isFull && operations.some(({ key }) => key === 's!isolation')) throw new Error('no space');
        for (const operation of operations)
          if (operation.type === 'put') content.set(operation.key, operation.value);
          else content.delete(operation.key);
      },
    };
    mkdirSync(directory().path, { recursive: true });
    const file = isolationFile(directory(), OWNER);
    const open = () => StateStore.open(small, { owner: OWNER, firstSequence: 1, isolationFile: file });
    const state = await open();
    await state.setIsolation(ISOLATION);
    expect([state.isolation, state.isIsolationKept]).to.deep.equal([ISOLATION, false]);
    expect((await open()).isolation, 'the file holds it').to.deep.equal(ISOLATION);
    isFull = false;
    await state.keepIsolation();
    expect(state.isIsolationKept).to.equal(true);
    file.write(undefined);
    expect((await open()).isolation, 'the database does too').to.deep.equal(ISOLATION);
    isFull = true;
    await state.setIsolation(undefined);
    expect([state.isolation, state.isIsolationKept]).to.deep.equal([undefined, false]);
    expect((await open()).isolation, 'where they differ').to.deep.equal(ISOLATION);
    isFull = false;
    await state.reload();
    expect([state.isolation, state.isIsolationKept, (await open()).isolation]).to.deep.equal([
      undefined,
      true,
      undefined,
    ]);
  });

  it('goes with its identity, as do the addresses of its managers', async () => {
    const firewall = { addresses: { 'manager.example': ['10.0.0.1'] }, dialledFrom: ['10.0.0.2'] };
    await set(ISOLATION);
    await withState(OWNER, (state) => state.noteFirewall(firewall));
    await withState('another/key', async (state) => {
      expect(state.isolation).to.equal(undefined);
      expect(state.firewall).to.deep.equal({ addresses: {}, dialledFrom: [] });
    });
    const manager = await FakeManager.start(folder.path);
    try {
      await enrollDirectory({
        directory: directory(),
        manager: parseManagerUrl(manager.url)!,
        token: manager.token,
        name: 'web1',
        agentVersion: '0.1.0',
        platform: 'test',
        clock,
        bootId: readBootId(),
      });
      expect(existsSync(path())).to.equal(false);
    } finally {
      await manager.close();
    }
  });

  it('is in force again when an agent starts that lost its database', async () => {
    const manager = await FakeManager.start(folder.path);
    try {
      await enrollInProcess(directory(), manager);
      const owner = ownerOf(readIdentity(directory())!);
      await withState(owner, (state) => state.setIsolation(ISOLATION));
      ruin();
      const loaded: NftScript[] = [];
      const packetFilter = {
        check: async () => undefined,
        load: async (script: NftScript) => void loaded.push(script),
        unload: () => Promise.reject(new Error('nothing was to be taken away')),
        stands: async () => true,
      };
      const agent = await composeInProcess(directory(), { packetFilter });
      try {
        await agent.start();
        expect(loaded[0]?.text).to.contain('chain forwarded').and.to.contain('10.0.0.5');
        expect(agent.status().isolated).to.include({ commandId: ISOLATION.commandId });
      } finally {
        await agent.abort();
      }
    } finally {
      await manager.close();
    }
  });
});
