import { expect } from 'chai';
import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { closeSync, cpSync, existsSync, fstatSync, openSync, readFileSync, rmSync, symlinkSync } from 'node:fs';
import { join, resolve } from 'node:path';

import { dataDirectory } from '../../../agent/data-directory.js';
import { hiddenFault } from '../../../agent/service/service-folder.js';
import { FakeManager } from '../../support/agent-fake-manager.js';
import { enrollInProcess } from '../../support/agent-in-process.js';
import { runAgent, spawnAgent, temporaryFolder, until } from '../../support/agent-process.js';
import { skipFor } from '../../support/skip.js';

/** In the place of systemd: prints what comes to a datagram socket, a line for each. */
const RECEIVER = `socket(S, AF_UNIX, SOCK_DGRAM, 0); bind(S, sockaddr_un($ARGV[0])); $| = 1; print "bound\\n";
while (1) { recv(S, $m, 4096, 0); $m =~ s/\\n/|/g; print "$m\\n" }`;

describe('the agent as a service', function () {
  this.timeout(60_000);
  let folder: ReturnType<typeof temporaryFolder>;
  let manager: FakeManager;
  const children: ChildProcess[] = [];
  const directory = () => dataDirectory(join(folder.path, 'web1'));

  beforeEach(async () => {
    folder = temporaryFolder();
    manager = await FakeManager.start(folder.path);
    await enrollInProcess(directory(), manager);
  });
  afterEach(async () => {
    for (const child of children.splice(0)) child.kill('SIGKILL');
    await manager.close();
    folder.remove();
  });

  it('tells systemd that it is ready, how it stands, that its loop lives, and that it ends', async function () {
    if (spawnSync('systemd-notify', ['--version']).status !== 0) skipFor(this, 'systemd-notify');
    if (spawnSync('perl', ['-MSocket', '-e', '1']).status !== 0) skipFor(this, 'perl, for a datagram socket');
    const socket = join(folder.path, 'notify');
    const receiver = spawn('perl', ['-MSocket', '-e', RECEIVER, socket], { stdio: ['ignore', 'pipe', 'inherit'] });
    children.push(receiver);
    let received = '';
    receiver.stdout.on('data', (chunk: Buffer) => (received += chunk.toString()));
    await until('the socket is bound', () => received.startsWith('bound'));
    const env = { NOTIFY_SOCKET: socket, WATCHDOG_USEC: '4000000' };
    const agent = spawnAgent(['run', '--dir', directory().path], { env });
    children.push(agent.child);
    const count = (word: string) => received.split('\n').filter((line) => line.includes(word)).length;
    await until('it is ready', () => count('READY=1') === 1, 20_000);
    await until('it stands well', () => count('STATUS=online') > 0, 20_000);
    await until('its loop lives', () => count('WATCHDOG=1') >= 3, 20_000);
    agent.child.kill('SIGSTOP');
    const before = count('WATCHDOG=1');
    agent.child.kill('SIGCONT');
    await until('it lives on', () => count('WATCHDOG=1') > before, 20_000);
    const { code } = await agent.kill('SIGTERM');
    expect(code).to.equal(0);
    expect(count('STOPPING=1')).to.equal(1);
    expect(received).to.match(/bound\n[^\n]*READY=1/);
  });

  const journalLines = async (stream: (file: number) => string): Promise<string[]> => {
    const path = join(folder.path, 'stderr');
    rmSync(path, { force: true });
    const file = openSync(path, 'w');
    const child = spawn(process.execPath, [resolve('dist/agent/main.js'), 'run', '--dir', directory().path], {
      stdio: ['ignore', 'ignore', file],
      env: { ...process.env, JOURNAL_STREAM: stream(file), WARDBEAT_LOG_LEVEL: 'info' },
    });
    children.push(child);
    closeSync(file);
    const lines = () => readFileSync(path, 'utf8').trim().split('\n');
    await until('it is online', () => readFileSync(path, 'utf8').includes('"online"'), 20_000);
    child.kill('SIGTERM');
    await new Promise((ended) => child.once('close', ended));
    return lines();
  };

  it('gives the journal each line’s level, and others the lines alone', async () => {
    const named = await journalLines((file) => `${fstatSync(file).dev}:${fstatSync(file).ino}`);
    expect(named.length).to.be.greaterThan(2);
    for (const line of named) expect(line).to.match(/^<[2-7]>\{"level":\d+,.*\}$/);
    expect(named.find((line) => line.includes('"level":30'))).to.match(/^<6>/);
    for (const line of await journalLines(() => '1:2')) expect(line).to.match(/^\{"level"/);
  });

  it('is written below another root by the command line, printed, and removed again', async function () {
    const root = join(folder.path, 'image');
    expect((await runAgent(['install', '--root', root])).code).to.equal(2);
    const hidden = hiddenFault(process.execPath);
    if (hidden !== undefined) skipFor(this, `a Node.js for all users: this one ${hidden}`);
    const main = copyOfProgram(join(folder.path, 'opt'));
    const below = ['install', '--root', folder.path, '--user', 'watcher', '--dir', '/var/lib/watch'];
    const made = await runAgent(below, { main });
    expect(made.code, made.stderr).to.equal(0);
    const unit = join(folder.path, 'etc/systemd/system/wardbeat-agent.service');
    const text = readFileSync(unit, 'utf8');
    expect(text)
      .to.contain('User=watcher')
      .and.contain('StateDirectory=watch')
      .and.contain(` /opt/dist/agent/main.js run`);
    expect((await runAgent(below, { main })).stdout).to.contain(`${unit} is as it should be`);
    const printed = await runAgent(['install', '--print']);
    expect(printed.stdout).to.contain('ExecStart=').and.contain('u wardbeat-agent - ');
    const removed = await runAgent(['uninstall', '--root', folder.path]);
    expect([removed.code, existsSync(unit)]).to.deep.equal([0, false]);
    expect((await runAgent(['uninstall', '--root', folder.path])).stdout).to.contain('no service is installed');
    const faulty = await runAgent(['install', '--root', folder.path, '--dir', '/home/x', '--user', 'a b'], { main });
    expect([faulty.code, faulty.stderr.trim().split('\n').length]).to.deep.equal([2, 3]);
  });
});

/** What the agent loads of this checkout, at another place; answers its main file. */
function copyOfProgram(place: string): string {
  for (const part of ['agent', 'certs', 'lib', 'policies', 'protocol'])
    cpSync(join('dist', part), join(place, 'dist', part), { recursive: true });
  cpSync('package.json', join(place, 'package.json'));
  symlinkSync(resolve('node_modules'), join(place, 'node_modules'));
  return join(place, 'dist/agent/main.js');
}
