import { expect } from 'chai';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Server as ChainProxy } from 'proxy-chain';

import { dataDirectory, readIdentity, type Identity } from '../../../agent/data-directory.js';
import { ManagerTransport } from '../../../agent/transport/manager-transport.js';
import type { ProxySecret } from '../../../agent/transport/proxy-tunnel.js';
import type { KnownPath, Route } from '../../../agent/transport/route-rules.js';
import type { TransportError } from '../../../agent/transport/transport-error.js';
import { createSystemClock } from '../../../lib/clock.js';
import { FakeManager } from '../../support/agent-fake-manager.js';
import { enrollInProcess } from '../../support/agent-in-process.js';
import { temporaryFolder, until } from '../../support/agent-process.js';
import { freePort } from '../../support/free-port.js';
import { RogueProxy, type Mischief, type RogueOptions } from '../../support/rogue-proxy.js';
import { makeTlsFiles } from '../../support/tls-files.js';

const clock = createSystemClock();
const SECRET: ProxySecret = { username: 'agent', password: 'open:sesame-é' };

describe('the routes of an agent through proxies', function () {
  this.timeout(30_000);
  let folder: ReturnType<typeof temporaryFolder>;
  let manager: FakeManager;
  let identity: Identity;
  let tls: { key: string; cert: string };
  let proxyRoots: string;
  const rogues: RogueProxy[] = [];

  const rogue = async (mischief: Mischief = 'serves', options: RogueOptions = {}): Promise<RogueProxy> => {
    const proxy = await RogueProxy.start({ tls, ...options });
    proxy.mischief = mischief;
    rogues.push(proxy);
    return proxy;
  };
  const routeOver = (urls: readonly string[], more: Partial<Route> = {}): Route => ({
    managerUrls: [],
    proxies: urls.map((url) => ({ url })),
    fallbackDirect: false,
    ...more,
  });
  const transportOver = (route: Route, more: { known?: KnownPath; secret?: ProxySecret } = {}) =>
    new ManagerTransport({
      identity,
      clock,
      bootId: 'this-boot',
      anchor: () => undefined,
      routes: () => ({ inForce: route }),
      known: () => more.known,
      secretOf: () => more.secret ?? SECRET,
      proxyRoots,
    });
  const connect = async (transport: ManagerTransport, milliseconds = 4000): Promise<string> => {
    const connection = await transport.connect(milliseconds, new AbortController().signal);
    connection.close();
    return connection.proxy ?? 'direct';
  };
  const failure = (transport: ManagerTransport, milliseconds = 1200): Promise<TransportError> =>
    connect(transport, milliseconds).then(
      (through) => Promise.reject(new Error(`connected through ${through}`)),
      (error: TransportError) => error,
    );

  before(async () => {
    folder = temporaryFolder();
    manager = await FakeManager.start(folder.path);
    const directory = dataDirectory(join(folder.path, 'web1'));
    await enrollInProcess(directory, manager);
    identity = readIdentity(directory)!;
    const files = await makeTlsFiles(folder.path, 'proxy');
    tls = { key: readFileSync(files.key, 'utf8'), cert: readFileSync(files.cert, 'utf8') };
    const chain = tls.cert.split(/(?=-----BEGIN)/);
    proxyRoots = chain.at(-1)!;
  });

  afterEach(async () => {
    for (const proxy of rogues.splice(0)) await proxy.close();
  });

  after(async () => {
    await manager.close();
    folder.remove();
  });

  const rows: [Mischief, string, string][] = [
    ['wants-credentials', 'proxy-auth', 'names none (407)'],
    ['html-with-200', 'protocol', ''],
    ['bytes-behind-200', 'protocol', 'behind its 200'],
    ['redirects', 'protocol', '302'],
    ['forbids', 'proxy-refused', '403'],
    ['no-gateway', 'proxy-no-route', '504'],
    ['endless-headers', 'protocol', 'endless header'],
    ['drip-feeds', 'proxy-timeout', 'no answer in time'],
    ['speaks-no-http', 'protocol', 'no HTTP'],
    ['continues', 'protocol', '100'],
    ['closes', 'proxy-refused', 'without an answer'],
    ['says-nothing', 'proxy-timeout', 'no answer in time'],
    ['closes-after-200', 'reset', ''],
    ['silent-after-200', 'timeout', 'no manager behind it'],
    ['own-certificate', 'tls-unknown-ca', ''],
  ];
  for (const [mischief, code, text] of rows)
    it(`calls a proxy that does "${mischief}" ${code}, within its time, and leaves nothing open`, async () => {
      const proxy = await rogue(mischief);
      const { connections } = manager;
      const begun = clock.monotonic();
      const error = await failure(transportOver(routeOver([proxy.url])));
      expect(clock.monotonic() - begun).to.be.below(3000);
      expect(error).to.include({ name: 'TransportError', code });
      expect(error.message).to.contain(proxy.url).and.to.contain(text);
      expect(manager.connections).to.equal(connections);
      expect(proxy.received).to.not.contain('heartbeat').and.not.contain('POST');
      await until('its connections are closed', () => proxy.open === 0);
    });

  for (const mischief of rows.map(([one]) => one).filter((one) => one !== 'wants-credentials'))
    it(`goes on to the next proxy behind one that does "${mischief}"`, async () => {
      const [bad, good] = [await rogue(mischief), await rogue()];
      const transport = transportOver(routeOver([bad.url, good.url]));
      expect(await connect(transport, 3000)).to.equal(good.url);
      // It stays there.
      expect(await connect(transport)).to.equal(good.url);
      expect(bad.connections).to.equal(1);
    });

  it('names a proxy that is not there, and one that has no name', async () => {
    const gone = `http://127.0.0.1:${await freePort()}`;
    expect((await failure(transportOver(routeOver([gone])))).code).to.equal('proxy-unreachable');
    const error = await failure(transportOver(routeOver(['http://no-such-host.invalid:3128'])), 8000);
    expect(error.code).to.equal('proxy-unreachable');
  });

  it('passes a real proxy, with and without its credentials', async () => {
    const chain = new ChainProxy({
      port: 0,
      host: '127.0.0.1',
      prepareRequestFunction: ({ username, password }) => ({
        requestAuthentication: username !== SECRET.username || password !== 'plain',
      }),
    });
    await chain.listen();
    try {
      const url = `http://127.0.0.1:${chain.port}`;
      expect(await failure(transportOver(routeOver([url])))).to.include({ code: 'proxy-auth' });
      const route = routeOver([], { proxies: [{ url, credential: 'corp' }] });
      const wrong = await failure(transportOver(route, { secret: { username: 'agent', password: 'hunter2' } }));
      expect(wrong).to.include({ code: 'proxy-auth' });
      expect(wrong.message).to.contain('refused the credentials').and.not.contain('hunter2');
      const secret = { username: SECRET.username, password: 'plain' };
      expect(await connect(transportOver(route, { secret }))).to.equal(url);
    } finally {
      await chain.close(true);
    }
  });

  it('gives credentials only where the setting names them, colons and umlauts and all', async () => {
    const proxy = await rogue('serves', { credentials: SECRET });
    const route = routeOver([], { proxies: [{ url: proxy.url, credential: 'corp' }] });
    expect(await connect(transportOver(route))).to.equal(proxy.url);
    expect((await failure(transportOver(routeOver([proxy.url])))).code).to.equal('proxy-auth');
    expect(proxy.asked.map(({ authorization }) => authorization !== undefined)).to.deep.equal([true, false]);
  });

  it('passes an https proxy under a known root, and gives a credential to no other', async () => {
    const proxy = await rogue('serves', { isTls: true, credentials: SECRET });
    const route = routeOver([], { proxies: [{ url: proxy.url, credential: 'corp' }] });
    expect(await connect(transportOver(route))).to.equal(proxy.url);
    await until('its connections are closed', () => proxy.open === 0);
    const known = proxyRoots;
    proxyRoots = identity.rootPem;
    const error = await failure(transportOver(route));
    proxyRoots = known;
    expect(error.code).to.equal('proxy-tls');
    expect(proxy.asked).to.have.length(1);
  });

  it('calls it proxy-tls where an https proxy has the certificate of another name', async () => {
    const proxy = await rogue('serves', { isTls: true });
    const named = proxy.url.replace('127.0.0.1', 'localhost');
    expect(await failure(transportOver(routeOver([named])))).to.include({ code: 'proxy-tls' });
    expect(proxy.asked).to.deep.equal([]);
  });

  it('reaches a proxy at an IPv6 address and a manager by name', async () => {
    const proxy = await rogue('serves', { host: '::1' });
    const { port } = new URL(manager.url);
    const route = routeOver([proxy.url], { managerUrls: [`https://localhost:${port}`] });
    expect(await connect(transportOver(route))).to.equal(proxy.url);
    expect(proxy.asked[0]!.target).to.equal(`localhost:${port}`);
  });

  it('goes directly only where that is allowed, and only after every proxy failed', async () => {
    const gone = [`http://127.0.0.1:${await freePort()}`, `http://127.0.0.1:${await freePort()}`];
    const { dials } = manager;
    expect((await failure(transportOver(routeOver(gone)))).code).to.equal('proxy-unreachable');
    expect(manager.dials).to.equal(dials);
    expect(await connect(transportOver(routeOver(gone, { fallbackDirect: true })))).to.equal('direct');
    const good = await rogue();
    expect(await connect(transportOver(routeOver([gone[0]!, good.url], { fallbackDirect: true })))).to.equal(good.url);
  });

  it('tells the first failure, and in its text all of them', async () => {
    const [one, two] = [await rogue('forbids'), await rogue('redirects')];
    const error = await failure(transportOver(routeOver([one.url, two.url])));
    expect(error.code).to.equal('proxy-refused');
    expect(error.message).to.contain(one.url).and.to.contain(two.url).and.to.contain('302');
  });

  it('tries another manager through the same proxy, but not where the proxy is to blame', async () => {
    const proxy = await rogue();
    const dead = `https://127.0.0.1:${await freePort()}`;
    const route = routeOver([proxy.url], { managerUrls: [dead, manager.url] });
    expect(await connect(transportOver(route))).to.equal(proxy.url);
    expect(proxy.asked.map(({ target }) => `https://${target}`)).to.deep.equal([dead, manager.url]);
    const blamed = await rogue('wants-credentials');
    await failure(transportOver({ ...route, proxies: [{ url: blamed.url }] }));
    expect(blamed.asked).to.have.length(1);
  });

  it('begins the next attempt behind where the time of the last one ran out', async () => {
    const silent = [await rogue('says-nothing'), await rogue('says-nothing'), await rogue('says-nothing')];
    const good = await rogue();
    const transport = transportOver(routeOver([...silent, good].map(({ url }) => url)));
    await failure(transport, 1000);
    expect(silent.map(({ connections }) => connections)).to.deep.equal([1, 1, 0]);
    expect(await connect(transport, 1000)).to.equal(good.url);
    expect(silent.map(({ connections }) => connections)).to.deep.equal([1, 1, 1]);
  });

  it('waits for a slow proxy, if it is the first', async () => {
    const slow = await rogue('serves-slowly', { slownessMs: 2500 });
    const others = [await rogue(), await rogue(), await rogue()].map(({ url }) => url);
    expect(await connect(transportOver(routeOver([slow.url, ...others])), 8000)).to.equal(slow.url);
  });

  it('begins where it stood before a restart', async () => {
    const [first, second] = [await rogue(), await rogue()];
    const route = routeOver([first.url, second.url]);
    const known = { proxy: second.url, managerUrl: manager.url };
    expect(await connect(transportOver(route, { known }))).to.equal(second.url);
    expect(first.connections).to.equal(0);
  });

  it('resumes its TLS session through another proxy', async () => {
    const [first, second] = [await rogue(), await rogue()];
    const transport = transportOver(routeOver([first.url, second.url]));
    const { signal } = new AbortController();
    const begun = await transport.open(3000, signal);
    await once(begun.socket.resume(), 'session');
    begun.socket.destroy();
    await first.close();
    const opened = await transport.open(3000, signal);
    expect(opened.proxy).to.equal(second.url);
    expect(opened.socket.isSessionReused()).to.equal(true);
    opened.socket.destroy();
  });
});
