import { expect } from 'chai';
import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Server as ChainProxy } from 'proxy-chain';

import { runAgentCli } from '../support/agent-cli.js';
import { makeDataDir, removeDataDir } from '../support/manager-process.js';
import { DirectionWorld } from '../support/direction-world.js';
import { freePort, isListening } from '../support/free-port.js';
import { eventually } from '../support/poll.js';
import { RogueProxy } from '../support/rogue-proxy.js';
import { skipFor } from '../support/skip.js';

interface Status {
  readonly state: string;
  readonly proxy: string | null;
  readonly lastError: { readonly code: string; readonly detail: string } | null;
  readonly settings: { readonly applied: string | null; readonly candidate: string | null };
}

interface Computer {
  readonly status: string;
  readonly settingsState: string;
  readonly proxyInUse: string | null;
  readonly lastSeenAt: string | null;
}

const PASSWORD = 'correct-horse-battery';
const SETTINGS = { heartbeatIntervalSeconds: 5, communicationDirection: 'agentInitiated' } as const;

describe('agents behind proxies', function () {
  this.timeout(180_000);
  let world: DirectionWorld;
  let root: string;
  const proxies: { close(): Promise<unknown> }[] = [];
  const daemons: ChildProcess[] = [];

  const rogue = async (...options: Parameters<typeof RogueProxy.start>): Promise<RogueProxy> => {
    const proxy = await RogueProxy.start(...options);
    proxies.push(proxy);
    return proxy;
  };
  const chain = async (): Promise<{ url: string; close: () => Promise<unknown> }> => {
    const port = await freePort();
    const server = new ChainProxy({
      port,
      host: '127.0.0.1',
      prepareRequestFunction: ({ username, password }) => ({
        requestAuthentication: username !== 'agent' || password !== PASSWORD,
      }),
    });
    await server.listen();
    const close = () => server.close(true);
    proxies.push({ close });
    return { url: `http://127.0.0.1:${port}`, close };
  };
  const cli = (name: string, ...args: string[]) => runAgentCli([...args, '--dir', world.directoryOf(name)]);
  const status = async (name: string) => JSON.parse((await cli(name, 'status', '--json')).stdout) as Status;
  const computer = (id: string) => world.computer(id) as unknown as Promise<Computer>;
  const secretFile = (text: string): string => {
    const path = join(root, `secret-${Math.random()}`);
    writeFileSync(path, text, { mode: 0o600 });
    return path;
  };
  const reaches = (name: string, proxy: string | null, withinMs?: number): Promise<Status> =>
    eventually(
      `${name} goes through ${proxy}`,
      async () => {
        const now = await status(name);
        return now.state === 'online' && now.proxy === proxy ? now : undefined;
      },
      withinMs,
    );
  const begin = async (name: string, settings: object): Promise<{ policy: string; id: string }> => {
    const policy = await world.newPolicy(name, { ...SETTINGS, ...settings });
    const id = await world.enroll(policy, name);
    world.run(name);
    await eventually(`${name} is online`, async () => (await computer(id)).status === 'online');
    return { policy, id };
  };

  before(async () => {
    root = makeDataDir();
    world = await DirectionWorld.start();
  });

  afterEach(async () => {
    for (const proxy of proxies.splice(0)) await proxy.close();
    for (const daemon of daemons.splice(0)) daemon.kill('SIGKILL');
  });

  after(async () => {
    await world?.end();
    removeDataDir(root);
  });

  it('switch by policy without a restart, go on to the next proxy within 10 s, and are shown behind it', async () => {
    const [first, second] = [await rogue(), await rogue()];
    const { policy, id } = await begin('web1', {});
    const list = [{ url: first.url }, { url: second.url }];
    await world.edit(policy, { proxies: list, proxyFallbackDirect: false });
    await reaches('web1', first.url);
    await eventually('it is shown', async () => (await computer(id)).proxyInUse === first.url);
    await eventually('it is applied', async () => (await computer(id)).settingsState === 'applied');
    await first.close();
    const at = performance.now();
    await eventually('it is heard through the second', async () => (await computer(id)).proxyInUse === second.url);
    // The heartbeat is due within 5 s.
    expect(performance.now() - at).to.be.below(15_000);
    await world.edit(policy, { proxies: [] });
    await reaches('web1', null);
    await eventually('it is shown', async () => (await computer(id)).proxyInUse === null);
  });

  it('go directly only where that is allowed when all proxies are dead', async () => {
    const proxy = await rogue();
    const dead = [{ url: proxy.url }, { url: `http://127.0.0.1:${await freePort()}` }];
    const { policy, id } = await begin('db1', { proxies: dead, proxyFallbackDirect: true });
    await reaches('db1', proxy.url);
    await proxy.close();
    await reaches('db1', null);
    await proxy.listen();
    await world.edit(policy, { proxyFallbackDirect: false });
    await reaches('db1', proxy.url, 60_000);
    await eventually('it is applied', async () => (await computer(id)).settingsState === 'applied');
    await proxy.close();
    const failed = await eventually('it is cut off', async () => {
      const now = await status('db1');
      return now.state === 'retrying' && now.lastError?.code === 'proxy-unreachable' ? now : undefined;
    });
    expect(failed.lastError?.detail).to.contain(proxy.url);
    await proxy.listen();
    await reaches('db1', proxy.url);
  });

  it('are set, listed, tested and cleared at the computer, with a secret that is told nowhere', async () => {
    const { url } = await chain();
    await begin('lab1', {});
    const wrong = await cli(
      'lab1',
      'proxy',
      'set',
      url,
      '--credential',
      'corp',
      '--secret-file',
      secretFile('agent:nope'),
      '--no-direct',
    );
    expect(wrong.code).to.equal(1);
    expect(wrong.stderr).to.contain('proxy-auth').and.to.contain('nothing was changed');
    const bare = await cli('lab1', 'proxy', 'set', `http://agent:${PASSWORD}@127.0.0.1:1`);
    expect(bare.code).to.equal(2);
    const secret = secretFile(`agent:${PASSWORD}\n`);
    const set = await cli('lab1', 'proxy', 'set', url, '--credential', 'corp', '--secret-file', secret, '--no-direct');
    expect(set).to.deep.include({
      code: 0,
      stdout: `The proxies were changed; the manager was reached through ${url}\n`,
    });
    await reaches('lab1', url);
    const list = await cli('lab1', 'proxy', 'list', '--json');
    expect(JSON.parse(list.stdout)).to.deep.include({
      source: 'local',
      direct: false,
      inUse: url,
      proxies: [{ url, credential: 'corp' }],
    });
    const tested = await cli('lab1', 'proxy', 'test', '--json');
    expect(tested.code).to.equal(0);
    const { paths } = JSON.parse(tested.stdout) as { paths: { proxy: string; ok: boolean }[] };
    expect(paths.map(({ proxy, ok }) => [proxy, ok])).to.deep.equal([[url, true]]);
    expect((await cli('lab1', 'proxy', 'clear')).code).to.equal(0);
    await reaches('lab1', null);
    const { stderr, stdout } = await cli('lab1', 'status');
    const told = [wrong, bare, set, list, tested].map((answer) => answer.stdout + answer.stderr).join('');
    const logged = world.output('lab1') + world.manager.output() + stdout + stderr + told;
    expect(logged).to.not.contain(PASSWORD).and.not.contain('nope');
    expect(logged).to.not.contain(Buffer.from(`agent:${PASSWORD}`).toString('base64'));
  });

  it('enroll through a proxy, keep to it, and find no other way', async () => {
    const { url, close } = await chain();
    const policy = await world.newPolicy('Behind a wall', SETTINGS);
    const given = ['--proxy', url, '--credential', 'corp', '--no-direct'];
    const wrong = await world.enroll(policy, 'far1', [...given, '--secret-file', secretFile('agent:nope')]).then(
      () => 'enrolled',
      (error: Error) => error.message,
    );
    expect(wrong).to.contain('proxy-auth');
    const id = await world.enroll(policy, 'far1', [...given, '--secret-file', secretFile(`agent:${PASSWORD}`)]);
    world.run('far1');
    await reaches('far1', url);
    await eventually('it is shown', async () => (await computer(id)).proxyInUse === url);
    const identity = readFileSync(join(world.directoryOf('far1'), 'identity.json'), 'utf8');
    expect(identity).to.not.contain(PASSWORD);
    await close();
    await eventually('it is cut off', async () => (await status('far1')).lastError?.code === 'proxy-unreachable');
  });

  it('pass tinyproxy, which answers 401 to bad credentials', async function () {
    if (spawnSync('tinyproxy', ['-v']).error) skipFor(this, 'tinyproxy');
    const port = await freePort();
    const file = join(root, 'tinyproxy.conf');
    writeFileSync(
      file,
      `Port ${port}\nListen 127.0.0.1\nTimeout 60\nMaxClients 20\nAllow 127.0.0.1\nBasicAuth agent ${PASSWORD}\n`,
    );
    daemons.push(spawn('tinyproxy', ['-d', '-c', file], { stdio: 'ignore' }));
    await eventually('tinyproxy listens', () => isListening(port));
    const url = `http://127.0.0.1:${port}`;
    await begin('tiny1', {});
    const given = ['proxy', 'set', url, '--credential', 'corp', '--no-direct', '--secret-file'];
    const wrong = await cli('tiny1', ...given, secretFile('agent:nope'));
    expect(wrong.stderr).to.contain('proxy-auth').and.to.contain('(401)');
    expect((await cli('tiny1', ...given, secretFile(`agent:${PASSWORD}`))).code).to.equal(0);
    await reaches('tiny1', url);
  });
});
