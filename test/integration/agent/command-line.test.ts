import { expect } from 'chai';
import { spawn } from 'node:child_process';
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { connect, type AddressInfo } from 'node:net';
import { join } from 'node:path';

import { callAgent } from '../../../agent/local-socket/socket-client.js';
import type { AgentStatus } from '../../../agent/status.js';
import { createSystemClock } from '../../../lib/clock.js';
import { FakeManager, POLICY } from '../../support/agent-fake-manager.js';
import { runAgent, spawnAgent, temporaryFolder, until, type AgentProcess } from '../../support/agent-process.js';
import { RogueProxy } from '../../support/rogue-proxy.js';

describe('the wardbeat-agent command line', function () {
  this.timeout(30_000);
  let folder: ReturnType<typeof temporaryFolder>;
  let manager: FakeManager;
  const running: AgentProcess[] = [];

  const dir = () => join(folder.path, 'agent');
  const tokenFile = () => join(folder.path, 'token');
  const enrollHere = () =>
    runAgent([
      'enroll',
      '--manager',
      manager.url,
      '--token-file',
      tokenFile(),
      '--dir',
      dir(),
      '--name',
      'web1',
      '--json',
    ]);
  const startHere = (): AgentProcess => {
    const agent = spawnAgent(['run', '--dir', dir()]);
    running.push(agent);
    return agent;
  };
  const status = async (): Promise<{ code: number | null; status: AgentStatus }> => {
    const { code, stdout } = await runAgent(['status', '--json', '--dir', dir()]);
    return { code, status: JSON.parse(stdout || 'null') as AgentStatus };
  };
  const emit = (...args: string[]) => runAgent(['emit', '--dir', dir(), ...args]);

  /** As a program of the computer may, whatever its JSON is. */
  const sendLine = async (line: string): Promise<string> => {
    const socket = connect(join(dir(), 'agent.sock'));
    socket.end(`${line}\n`);
    return (await socket.toArray()).join('');
  };

  beforeEach(async () => {
    folder = temporaryFolder();
    manager = await FakeManager.start(folder.path);
    writeFileSync(tokenFile(), `${manager.token}\n`);
  });

  afterEach(async () => {
    await Promise.all(running.splice(0).map((agent) => agent.kill('SIGKILL')));
    await manager.close();
    folder.remove();
  });

  it('lists every bad flag and exits 2', async () => {
    const { code, stderr, stdout } = await runAgent(['enroll', '--manger', 'x', '--name']);
    expect(code).to.equal(2);
    expect(stdout).to.equal('');
    for (const fault of ['--manger', '--name needs a value', '--manager URL is missing', 'a token is missing'])
      expect(stderr).to.contain(fault);
    expect((await runAgent(['proxy', 'set'])).code).to.equal(2);
    expect((await runAgent([])).code).to.equal(2);
  });

  it('ends as ever where whoever reads what it prints goes away', async () => {
    const child = spawn(process.execPath, ['dist/agent/main.js', 'install', '--print'], { stdio: 'pipe' });
    child.stdout.destroy();
    let stderr = '';
    child.stderr.on('data', (chunk: Buffer) => (stderr += chunk.toString()));
    const code = await new Promise((resolve) => child.once('close', resolve));
    expect([code, stderr]).to.deep.equal([0, '']);
  });

  it('enrolls by file, by standard input and by environment; exits 0 again when enrolled', async () => {
    const { code, stdout } = await enrollHere();
    expect(code).to.equal(0);
    const answer = JSON.parse(stdout) as { computerId: string };
    expect(answer).to.deep.equal({ computerId: answer.computerId, name: 'web1', policy: POLICY });
    expect(JSON.parse((await enrollHere()).stdout)).to.deep.equal(answer);
    const args = ['enroll', '--manager', manager.url, '--json', '--dir'];
    const byStdin = await runAgent([...args, join(folder.path, 'b'), '--token', '-'], { input: manager.token });
    const byEnvironment = await runAgent([...args, join(folder.path, 'c')], {
      env: { WARDBEAT_ENROLLMENT_TOKEN_FILE: tokenFile() },
    });
    expect([byStdin.code, byEnvironment.code]).to.deep.equal([0, 0]);
    const byFlag = await runAgent([...args, join(folder.path, 'd'), '--token', manager.token]);
    expect(byFlag.code).to.equal(0);
    expect(byFlag.stderr).to.contain('process list').and.not.contain(manager.token);
  });

  it('exits 4 with the problem code when refused, 4 for a stranger, 1 when nobody answers', async () => {
    manager.faults.push({ kind: 'problem', status: 403, code: 'enrollment-token-refused' });
    const refused = await enrollHere();
    expect([refused.code, refused.stderr.split(':')[0]]).to.deep.equal([4, 'enrollment-token-refused']);
    writeFileSync(tokenFile(), `wbt_${'0'.repeat(64)}_${'1'.repeat(64)}`);
    const stranger = await enrollHere();
    expect([stranger.code, stranger.stderr.split(':')[0]]).to.deep.equal([4, 'tls-unknown-ca']);
    await manager.close();
    const nobody = await enrollHere();
    expect([nobody.code, nobody.stderr.split(':')[0]]).to.deep.equal([1, 'refused']);
  });

  it('says in one line that a port speaks no TLS, and exits 1', async () => {
    const plain = createServer((_request, response) => void response.end());
    await new Promise<void>((resolve) => plain.listen(0, '127.0.0.1', resolve));
    const url = `https://127.0.0.1:${(plain.address() as AddressInfo).port}`;
    const { code, stderr } = await runAgent(['enroll', '--manager', url, '--token-file', tokenFile(), '--dir', dir()]);
    plain.close();
    expect([code, stderr]).to.deep.equal([1, 'protocol: no TLS there; the agent port is 4120 unless configured\n']);
  });

  it('sets, lists, tests and clears proxies of an enrolled directory alone, and makes none', async () => {
    const proxy = await RogueProxy.start();
    const bad = await RogueProxy.start();
    bad.mischief = 'html-with-200';
    const run = async (...args: string[]): Promise<readonly [number | null, string, string]> => {
      const { code, stdout, stderr } = await runAgent(['proxy', ...args, '--dir', dir()]);
      return [code, stdout, stderr];
    };
    try {
      for (const action of [['set', proxy.url], ['set', proxy.url, '--force'], ['list'], ['test'], ['clear']])
        expect(await run(...action)).to.deep.equal([3, '', `wardbeat-agent: ${dir()} is not enrolled\n`]);
      expect(existsSync(dir())).to.equal(false);
      await enrollHere();
      const [code, out, why] = await run('set', bad.url);
      expect([code, out]).to.deep.equal([1, '']);
      expect(why).to.match(/^protocol: proxy http.*; nothing was changed/);
      const both = await run('set', `${bad.url},${proxy.url}`);
      expect(both.slice(0, 2)).to.deep.equal([
        0,
        `The proxies were changed; the manager was reached through ${proxy.url}\n`,
      ]);
      expect(both[2]).to.contain(`protocol: proxy ${bad.url}`).and.to.contain('proxy test');
      expect((await run('list'))[1]).to.contain(proxy.url);
      expect(await run('clear')).to.deep.equal([
        0,
        "The policy's proxies count again; the manager was reached directly\n",
        '',
      ]);
      expect(await run('set', bad.url, '--force')).to.deep.equal([0, 'The proxies were changed\n', '']);
    } finally {
      await proxy.close();
      await bad.close();
    }
  });

  it('exits 3 where nothing is enrolled, and emit exits 1 where nothing runs', async () => {
    expect((await runAgent(['run', '--dir', dir()])).code).to.equal(3);
    expect((await runAgent(['status', '--dir', dir()])).code).to.equal(3);
    expect((await emit('--kind', 'log', '--severity', 'info', '--message', 'x')).code).to.equal(1);
    await enrollHere();
    expect((await emit('--kind', 'log', '--severity', 'info', '--message', 'x')).code).to.equal(1);
    const stopped = await status();
    expect([stopped.code, stopped.status.state]).to.deep.equal([1, 'stopped']);
  });

  it('reports contact, refuses a second agent with exit 5, stops with a goodbye on SIGTERM', async () => {
    await enrollHere();
    const agent = startHere();
    await until('in contact', async () => (await status()).code === 0);
    const shown = (await status()).status;
    expect(shown).to.include({ name: 'web1', state: 'online', managerUrl: manager.url, lastError: null });
    expect(shown.certificate.serial).to.match(/^[0-9a-f]{32}$/);
    expect((await runAgent(['run', '--dir', dir()])).code).to.equal(5);
    const { code } = await agent.kill('SIGTERM');
    expect(code).to.equal(0);
    expect(manager.reports.at(-1)?.report.goodbye).to.deep.equal({ reason: 'shutdown' });
    const after = await status();
    expect([after.code, after.status.state]).to.deep.equal([1, 'stopped']);
    expect(after.status.settings.applied).to.equal(shown.settings.applied);
    expect(existsSync(join(dir(), 'agent.sock'))).to.equal(false);
  });

  it('answers emit with its range, refuses bad severities and bad data', async () => {
    await enrollHere();
    startHere();
    await until('in contact', async () => (await status()).code === 0);
    const { code, stdout } = await emit('--kind', 'metric', '--severity', 'low', '--message', 'm', '--data', '{"a":1}');
    const range = JSON.parse(stdout) as { epoch: string };
    expect(code).to.equal(0);
    expect(range).to.deep.equal({ lane: 'metric', epoch: range.epoch, first: 0, last: 0 });
    expect((await emit('--kind', 'metric', '--severity', 'bad', '--message', 'm')).code).to.equal(2);
    expect((await emit('--kind', 'log', '--severity', 'low', '--message', 'm', '--data', '{')).code).to.equal(2);
    const large = JSON.stringify('z'.repeat(40_000));
    expect((await emit('--kind', 'log', '--severity', 'low', '--message', 'm', '--data', large)).code).to.equal(2);
    const long = await emit('--kind', 'log', '--severity', 'low', '--message', 'm'.repeat(8193));
    expect([long.code, long.stderr.includes('8192')]).to.deep.equal([2, true]);
    const call = { folder: dir(), name: 'agent.sock', clock: createSystemClock(), milliseconds: 5000 };
    const request = { op: 'emit', kind: 'log', severity: 'low', message: 'm'.repeat(8193) };
    const past = await callAgent(call, request).catch((error: { code: string; errors: string[] }) => error);
    expect(past).to.deep.include({
      code: 'request-invalid',
      errors: ['#/message must be a string of at most 8192 characters'],
    });
    const endless = await sendLine(`{"op":"emit","kind":"log","severity":"low","message":"m","data":{"a":1e400}}`);
    expect(endless).to.contain('request-invalid').and.contain('#/data/a');
    expect((await status()).status.spool.lanes.log.next).to.equal(0);
    expect((await emit('--kind', 'log', '--severity', 'low', '--message', 'm'.repeat(8192))).code).to.equal(0);
  });

  it('delivers 2,000 emitted events exactly once although both sides are killed', async () => {
    await enrollHere();
    await manager.close();
    const first = startHere();
    await until('the socket is there', () => existsSync(join(dir(), 'agent.sock')));
    const one = await emit('--kind', 'log', '--severity', 'info', '--message', 'a', '--count', '1200');
    expect(JSON.parse(one.stdout)).to.include({ first: 0, last: 1199 });
    await first.kill('SIGKILL');
    startHere();
    await until('it runs again', async () => (await status()).status.state === 'retrying');
    await emit('--kind', 'log', '--severity', 'info', '--message', 'b', '--count', '800');
    manager.faults.push({ kind: 'lose-reply' });
    await manager.listen();
    await until('a first report', () => manager.reports.length >= 1, 15_000);
    await manager.close();
    await manager.listen();
    await until('all arrived', () => manager.events('log').length >= 2000, 20_000);
    expect(manager.events('log')).to.have.length(2000);
  });

  it('works in a directory whose path is longer than a socket path may be', async () => {
    const deep = join(folder.path, 'd'.repeat(60), 'e'.repeat(60));
    mkdirSync(deep, { recursive: true });
    await runAgent(['enroll', '--manager', manager.url, '--token-file', tokenFile(), '--dir', deep]);
    running.push(spawnAgent(['run', '--dir', deep]));
    await until('in contact', async () => (await runAgent(['status', '--dir', deep])).code === 0);
  });
});
