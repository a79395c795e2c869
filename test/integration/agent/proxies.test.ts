import { expect } from 'chai';
import { chmodSync, mkdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';

import type { Daemon } from '../../../agent/daemon.js';
import { dataDirectory } from '../../../agent/data-directory.js';
import { CANDIDATE_LIMIT_MS } from '../../../agent/direction-rules.js';
import { callAgent } from '../../../agent/local-socket/socket-client.js';
import type { ProxyChangeResult, ProxyList } from '../../../agent/proxies/proxy-control.js';
import { readLocalProxies, writeSecret } from '../../../agent/proxies/proxy-files.js';
import type { WayTaken } from '../../../agent/transport/tls-connection.js';
import { createSystemClock } from '../../../lib/clock.js';
import { settingsDocument } from '../../../policies/fingerprint.js';
import type { SettingValues } from '../../../policies/setting-values.js';
import { FakeManager } from '../../support/agent-fake-manager.js';
import { composeInProcess, enrollInProcess } from '../../support/agent-in-process.js';
import { temporaryFolder, until } from '../../support/agent-process.js';
import { freePort } from '../../support/free-port.js';
import { jumpingClock } from '../../support/jumping-clock.js';
import { RogueProxy, type Mischief, type RogueOptions } from '../../support/rogue-proxy.js';

const SECRET = { username: 'agent', password: 'correct-horse' };

describe('an agent behind proxies', function () {
  this.timeout(60_000);
  let folder: ReturnType<typeof temporaryFolder>;
  let manager: FakeManager;
  let daemon: Daemon;
  let clock: ReturnType<typeof jumpingClock>;
  const rogues: RogueProxy[] = [];

  const directory = () => dataDirectory(join(folder.path, 'web1'));
  const rogue = async (mischief: Mischief = 'serves', options: RogueOptions = {}): Promise<RogueProxy> => {
    const proxy = await RogueProxy.start(options);
    proxy.mischief = mischief;
    rogues.push(proxy);
    return proxy;
  };
  const start = async (): Promise<void> => {
    daemon = await composeInProcess(directory(), { clock });
    await daemon.start();
  };
  const enrollAndStart = async (): Promise<void> => {
    await enrollInProcess(directory(), manager);
    await start();
    await until('it was in contact', () => daemon.status().state === 'online');
  };
  const edit = (changes: Partial<SettingValues>) => manager.setSettings(changes);
  const desired = () => settingsDocument(manager.settings).fingerprint;
  const isApplied = () => daemon.status().settings.applied === desired();
  const applied = () => until('the settings are in force', isApplied);
  /** The next exchange is due later: one that is asked for would only be cut short by a jump of the clock. */
  const isAtRest = () => Date.parse(daemon.status().nextContactAt ?? '') > clock.wall() + 500;
  const beat = () => clock.jump(manager.intervalMs);
  const control = (kind: string) => manager.events('control').filter((event) => event.kind === kind);
  const ask = (request: object) =>
    callAgent(
      { folder: directory().path, name: directory().socketName, clock: createSystemClock(), milliseconds: 25_000 },
      request,
    );
  const change = (urls: readonly string[] | null, more: object = {}): Promise<ProxyChangeResult> =>
    ask({
      op: 'proxy-change',
      local: urls && { proxies: urls.map((url) => ({ url })), direct: true },
      force: false,
      ...more,
    }) as Promise<ProxyChangeResult>;
  const listed = () => ask({ op: 'proxies' }) as Promise<ProxyList>;

  beforeEach(async () => {
    folder = temporaryFolder();
    manager = await FakeManager.start(folder.path);
    clock = jumpingClock();
  });

  afterEach(async () => {
    await daemon.abort();
    for (const proxy of rogues.splice(0)) await proxy.close();
    await manager.close();
    folder.remove();
  });

  it('takes up a list by policy without a restart, once an exchange over it was stored', async () => {
    const proxy = await rogue();
    await enrollAndStart();
    edit({ proxies: [{ url: proxy.url }], proxyFallbackDirect: false });
    beat();
    await applied();
    await until('a report tells of it', () => manager.reports.at(-1)!.report.appliedFingerprint === desired());
    const told = manager.reports.map(({ report }) => [report.candidate?.state, report.proxy]);
    expect(told.filter(([state]) => state === 'proving')).to.deep.equal([['proving', proxy.url]]);
    expect(told.at(-1)).to.deep.equal([undefined, proxy.url]);
    expect(daemon.status().proxy).to.equal(proxy.url);
    expect(await listed()).to.deep.include({ source: 'policy', direct: false, inUse: proxy.url });
    beat();
    await until('it keeps to the proxy', () => proxy.asked.length >= 2);
    expect(control('proxy-changed')[0]?.data).to.deep.include({ from: null, to: proxy.url });
    edit({ proxies: [] });
    beat();
    await applied();
    expect(daemon.status().proxy).to.equal(null);
  });

  it('reverts a list through which nothing comes, goes on over the old way meanwhile, and says why', async () => {
    const bad = await rogue('forbids');
    await enrollAndStart();
    const before = daemon.status().settings.applied;
    edit({ proxies: [{ url: bad.url }], proxyFallbackDirect: false });
    beat();
    await until('it is proving', () => daemon.status().settings.candidate === desired());
    await until('it tried', () => bad.connections > 0);
    await until('it reported over the old way', () => manager.reports.at(-1)!.report.candidate?.state === 'proving');
    expect(daemon.status()).to.include({ state: 'online', proxy: null });
    expect(manager.reports.at(-1)!.report).to.not.have.property('proxy');
    expect(daemon.status().settings.applied).to.equal(before);
    clock.jump(CANDIDATE_LIMIT_MS);
    await until('it reports the revert', () => manager.reports.at(-1)!.report.candidate?.state === 'reverted');
    const { candidate } = manager.reports.at(-1)!.report;
    expect(candidate).to.include({ fingerprint: desired(), reason: 'manager-not-reached' });
    expect(candidate?.detail).to.contain('proxy-refused').and.to.contain(bad.url);
    expect(control('settings-reverted')).to.have.length(1);
    beat();
    await until('it is in contact as before', () => daemon.status().state === 'online');
    expect(daemon.status().settings.candidate).to.equal(null);
  });

  it('is not taken in by a commit over the old way', async () => {
    const bad = await rogue('forbids');
    await enrollAndStart();
    edit({ proxies: [{ url: bad.url }], proxyFallbackDirect: false });
    beat();
    // The manager in miniature commits whatever comes over a connection of the agent's.
    await until('it told of it', () => manager.reports.at(-1)!.report.candidate?.state === 'proving', 12_000);
    expect(daemon.status().settings.candidate).to.equal(desired());
    clock.jump(10_000);
    await until('it tries again', () => bad.connections >= 2, 12_000);
    bad.mischief = 'serves';
    clock.jump(10_000);
    await until('it is proven', isApplied, 12_000);
    expect(daemon.status().proxy).to.equal(bad.url);
  });

  it('comes through while the candidate dies in the middle of every exchange', async () => {
    const bad = await rogue('dies-mid-exchange');
    await enrollAndStart();
    edit({ proxies: [{ url: bad.url }], proxyFallbackDirect: false });
    beat();
    await until('the exchange over it died', () => bad.connections > 0);
    await until('it came through', () => manager.reports.at(-1)!.report.candidate?.state === 'proving');
    await until('it is in contact', () => daemon.status().state === 'online');
    expect(isApplied()).to.equal(false);
  });

  it('proves other managers by an exchange with one of them', async () => {
    await enrollAndStart();
    const { port } = new URL(manager.url);
    edit({ managerUrls: [`https://localhost:${port}`] });
    beat();
    await applied();
    expect(daemon.status().managerUrl).to.equal(`https://localhost:${port}`);
    edit({ managerUrls: [`https://127.0.0.1:${await freePort()}`] });
    beat();
    await until('it is proving', () => daemon.status().settings.candidate === desired());
    clock.jump(CANDIDATE_LIMIT_MS);
    await until('it reports the revert', () => manager.reports.at(-1)!.report.candidate?.state === 'reverted');
    expect(manager.reports.at(-1)!.report.candidate?.detail).to.contain('refused');
  });

  const deaths: [Mischief, number][] = [
    ['dies-mid-exchange', 6000],
    ['silent-mid-exchange', 9000],
    ['own-certificate', 6000],
  ];
  for (const [mischief, withinMs] of deaths)
    it(`goes on to the next proxy when the one in use does "${mischief}", and stays there over a restart`, async () => {
      const [first, second] = [await rogue(), await rogue()];
      await enrollAndStart();
      edit({ proxies: [{ url: first.url }, { url: second.url }], proxyFallbackDirect: false });
      beat();
      await applied();
      expect(daemon.status().proxy).to.equal(first.url);
      first.mischief = mischief;
      const { length } = manager.reports;
      const isHeardAgain = () => {
        // An exchange that was in flight when its proxy went bad may have come through.
        if (isAtRest()) beat();
        return manager.reports.length > length && daemon.status().proxy === second.url;
      };
      await until('it is heard again', isHeardAgain, withinMs);
      await until('it is in contact', () => daemon.status().state === 'online');
      await daemon.stop();
      const { connections } = first;
      await start();
      await until('it is in contact', () => daemon.status().state === 'online');
      expect(daemon.status().proxy).to.equal(second.url);
      expect(first.connections).to.equal(connections);
    });

  it('leaves the channel of the former way as soon as another one is in force', async () => {
    manager.upgrades = 'channels';
    await enrollAndStart();
    await until('it holds a channel', () => daemon.status().channel.state === 'open' && manager.channels.size === 1);
    const [channel] = manager.channels;
    const left = new Promise((resolve) => channel!.once('close', resolve));
    edit({ proxies: [{ url: (await rogue()).url }], proxyFallbackDirect: false });
    manager.wake();
    await applied();
    // Long before the next heartbeat.
    expect(await left).to.equal(1000);
    expect(manager.intervalMs).to.equal(60_000);
  });

  it('goes on to the next proxy within 10 s when the one that holds its channel says nothing more', async () => {
    const [first, second] = [await rogue(), await rogue()];
    manager.upgrades = 'channels';
    // Shorter than what two ends of a channel may be silent, so that it is not known to be stale.
    manager.intervalMs = 20_000;
    edit({ proxies: [{ url: first.url }, { url: second.url }], proxyFallbackDirect: false });
    await enrollAndStart();
    const isHeld = () => {
      const { channel, state } = daemon.status();
      return first.asked.length >= 2 && channel.state === 'open' && state === 'online' && isApplied();
    };
    // The first connection through it proves the settings, the second is the channel.
    await until('it holds a channel through the first', isHeld, 15_000);
    expect(daemon.status().proxy).to.equal(first.url);
    const { length } = manager.reports;
    first.hush();
    first.mischief = 'silent-mid-exchange';
    clock.jump(manager.intervalMs);
    await until('it is heard through the second', () => daemon.status().proxy === second.url, 9500);
    expect(manager.reports[length]?.body).to.equal(manager.reports[length + 1]?.body);
    expect(daemon.status().lastError).to.include({ code: 'timeout' });
    expect(daemon.status().lastError?.detail).to.contain(first.url);
    await until('it holds a channel again', () => daemon.status().channel.state === 'open', 15_000);
  });

  it('waits and spools where every proxy is gone and the direct way is forbidden; comes back with one', async () => {
    const proxy = await rogue();
    await enrollAndStart();
    edit({ proxies: [{ url: proxy.url }], proxyFallbackDirect: false });
    beat();
    await applied();
    await proxy.close();
    const { dials } = manager;
    beat();
    await until('it says so', () => daemon.status().lastError?.code === 'proxy-unreachable');
    expect(daemon.status().state).to.equal('retrying');
    expect(daemon.status().lastError?.detail).to.contain(proxy.url);
    expect(manager.dials).to.equal(dials);
    await proxy.listen();
    clock.jump(60_000);
    await until('it is back', () => daemon.status().state === 'online');
  });

  it('goes directly where that is allowed, and says so', async () => {
    const proxy = await rogue();
    await enrollAndStart();
    edit({ proxies: [{ url: proxy.url }] });
    beat();
    await applied();
    await proxy.close();
    beat();
    await until('it goes directly', () => daemon.status().proxy === null && daemon.status().state === 'online');
    await until('it told', () => control('proxy-changed').length === 2 || (beat(), false));
    expect(control('proxy-changed')[1]).to.deep.include({ severity: 'medium' });
    expect(control('proxy-changed')[1]?.data)
      .to.deep.include({ from: proxy.url, to: null })
      .and.to.have.property('code');
  });

  describe('whose operator sets them', () => {
    it('tries the list out by an exchange, keeps it, and prefers it to the policy until it is cleared', async () => {
      const [own, ofPolicy] = [await rogue(), await rogue()];
      await enrollAndStart();
      const way = { proxy: own.url };
      expect(await change([own.url])).to.deep.equal({ changed: true, failure: null, way, warning: null });
      expect(daemon.status().proxy).to.equal(own.url);
      expect(readLocalProxies(directory())?.proxies).to.deep.equal([{ url: own.url }]);
      edit({ proxies: [{ url: ofPolicy.url }] });
      beat();
      await applied();
      expect(daemon.status().proxy).to.equal(own.url);
      expect(ofPolicy.connections).to.equal(0);
      expect(await listed()).to.deep.include({ source: 'local', policy: [{ url: ofPolicy.url, credential: null }] });
      await daemon.stop();
      await start();
      await until('it is in contact', () => daemon.status().state === 'online');
      expect(ofPolicy.connections).to.equal(0);
      expect(await change(null)).to.deep.include({ changed: true, failure: null, way: { proxy: ofPolicy.url } });
      expect(daemon.status().proxy).to.equal(ofPolicy.url);
      expect(readLocalProxies(directory())).to.equal(undefined);
    });

    it('changes nothing where nothing comes through, unless it is forced', async () => {
      const bad = await rogue('redirects');
      await enrollAndStart();
      const strict = { local: { proxies: [{ url: bad.url }], direct: false } };
      const { changed, failure } = await change([], strict);
      expect({ changed, code: failure?.code }).to.deep.equal({ changed: false, code: 'protocol' });
      expect(readLocalProxies(directory())).to.equal(undefined);
      expect((await listed()).source).to.equal('none');
      expect((await change([], { ...strict, force: true })).changed).to.equal(true);
      beat();
      await until('it fails', () => daemon.status().lastError?.code === 'protocol');
      expect((await change(null)).changed).to.equal(true);
      await until('it is in contact', () => daemon.status().state === 'online');
    });

    for (const mischief of ['html-with-200', 'forbids', 'closes-after-200'] as const)
      it(`takes no list of proxies that do "${mischief}", though the direct way is allowed`, async () => {
        const bad = await rogue(mischief);
        await enrollAndStart();
        const { changed, failure } = await change([bad.url]);
        expect([changed, failure?.detail.includes(bad.url)]).to.deep.equal([false, true]);
        expect(readLocalProxies(directory())).to.equal(undefined);
        expect(daemon.status()).to.include({ state: 'online', proxy: null, lastError: null });
      });

    it('takes a list one proxy of which leads to the manager, and says which did and why another did not', async () => {
      const [bad, good] = [await rogue('html-with-200'), await rogue()];
      await enrollAndStart();
      const result = await change([bad.url, good.url]);
      expect(result).to.deep.include({ changed: true, failure: null, way: { proxy: good.url } });
      expect(result.warning?.code).to.equal('protocol');
      expect(result.warning?.detail).to.contain(bad.url);
      expect(daemon.status().proxy).to.equal(good.url);
    });

    it('says that it goes directly once the list is cleared, where the policy’s proxies lead nowhere', async () => {
      const [own, ofPolicy] = [await rogue(), await rogue('forbids')];
      await enrollAndStart();
      expect((await change([own.url])).changed).to.equal(true);
      edit({ proxies: [{ url: ofPolicy.url }] });
      beat();
      await applied();
      const result = await change(null);
      expect(result).to.deep.include({ changed: true, way: { proxy: null } });
      expect(result.warning).to.include({ code: 'proxy-refused' });
    });

    it('keeps a secret only once it proved good, in a file of its own, and tells it nowhere', async () => {
      const proxy = await rogue('serves', { credentials: SECRET });
      await enrollAndStart();
      const local = { proxies: [{ url: proxy.url, credential: 'corp' }], direct: false };
      const wrong = { name: 'corp', value: { username: 'agent', password: 'wrong-horse' } };
      const failed = await change([], { local, secret: wrong });
      expect(failed.failure?.code).to.equal('proxy-auth');
      expect((await change([], { local })).failure?.code).to.equal('proxy-credential');
      expect((await change([], { local, secret: { name: 'corp', value: SECRET } })).changed).to.equal(true);
      const file = join(directory().path, 'secrets.json');
      expect(statSync(file).mode & 0o777).to.equal(0o600);
      expect(JSON.parse(readFileSync(file, 'utf8'))).to.deep.equal({ corp: SECRET });
      const told = JSON.stringify([failed, await listed(), daemon.status(), manager.reports.map(({ body }) => body)]);
      for (const secret of ['horse', Buffer.from('agent:correct-horse').toString('base64')])
        expect(told).to.not.contain(secret);
    });
  });

  it('refuses a file of secrets that others can read', async () => {
    const proxy = await rogue('serves', { credentials: SECRET });
    await enrollAndStart();
    writeSecret(directory(), 'corp', SECRET);
    chmodSync(join(directory().path, 'secrets.json'), 0o640);
    const local = { proxies: [{ url: proxy.url, credential: 'corp' }], direct: false };
    const { failure } = await change([], { local });
    expect(failure?.code).to.equal('proxy-credential');
    expect(failure?.detail).to.contain('chmod 600');
  });

  for (const mischief of ['dies-mid-exchange', 'silent-mid-exchange'] as const)
    it(`enrolls through the next proxy when the first does "${mischief}", once, and tells why`, async () => {
      const [bad, good] = [await rogue(mischief), await rogue()];
      mkdirSync(directory().path, { recursive: true });
      const local = { proxies: [{ url: bad.url }, { url: good.url }], direct: false };
      const ways: WayTaken[] = [];
      await enrollInProcess(directory(), manager, { local, onEnrolled: (way) => ways.push(way) });
      expect(ways.map(({ proxy }) => proxy)).to.deep.equal([good.url]);
      expect(ways[0]?.warning?.message).to.contain(bad.url);
      expect(manager.enrolled.size).to.equal(1);
      await start();
    });

  it('enrolls through a proxy and keeps it', async () => {
    const proxy = await rogue();
    mkdirSync(directory().path, { recursive: true });
    const local = { proxies: [{ url: proxy.url }], direct: false };
    let kept = false;
    await enrollInProcess(directory(), manager, { local, onEnrolled: () => (kept = true) });
    expect(kept).to.equal(true);
    expect(proxy.asked).to.have.length(1);
    await start();
  });
});
