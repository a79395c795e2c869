import { expect } from 'chai';
import { spawnSync } from 'node:child_process';
import { chmodSync, cpSync, existsSync, mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import {
  ADMIN_PASSWORD,
  makeDataDir,
  readRunFile,
  removeDataDir,
  spawnManager,
  startManager,
} from '../support/manager-process.js';
import { eventually } from '../support/poll.js';
import { runWardbeat } from '../support/wardbeat-cli.js';

const STACK = /\n\s+at /;

describe('starts that are refused, and stops', function () {
  this.timeout(120_000);
  const root = makeDataDir();
  const dataDir = join(root, 'a b');
  const keys = join(dataDir, 'keys');
  const saved = join(root, 'saved-keys');
  const env = { WARDBEAT_DATA_DIR: dataDir, WARDBEAT_ADMIN_PORT: '0', WARDBEAT_AGENT_PORT: '0' };
  let fingerprint: string;
  after(() => removeDataDir(root));

  /** Ended by itself with 1; what it said in plain lines, which come before its JSON log after the failure. */
  async function refused(more: Readonly<Record<string, string>> = {}): Promise<string> {
    const { code, stderr } = await runWardbeat(['start'], { ...env, ...more });
    expect(code, stderr).to.equal(1);
    expect(stderr).not.to.match(STACK);
    const plain = stderr.split('\n').filter((line) => line !== '' && !line.startsWith('{'));
    expect(plain, stderr).to.have.length(1);
    return plain[0] ?? '';
  }

  it('quotes the path of the printed command, and a stop breaks no connection', async () => {
    const manager = await startManager({ dataDir, isFirstStart: true });
    ({ caFingerprint: fingerprint } = manager);
    await manager.api.signIn('admin', ADMIN_PASSWORD);
    await Promise.all(Array.from({ length: 10 }, () => manager.api.get('/computers')));
    await eventually('the command is printed', () => manager.output().includes('npm run agent -- run'));
    const [, words = ''] = /--token-file (.*)/.exec(manager.output()) ?? [];
    const { stdout } = spawnSync('sh', ['-c', `printf %s ${words}`]);
    expect(existsSync(stdout.toString()), words).to.equal(true);
    await manager.stop();
    expect(await manager.ended).to.equal(0);
    expect(manager.output()).not.to.match(/FATAL|administrator command|connection broke|"level":[56]0/);
    cpSync(keys, saved, { recursive: true });
  });

  it('needs a command', async () => {
    const answer = await runWardbeat([], env);
    expect(answer.code).to.equal(2);
    expect(answer.stderr).to.match(/^Usage: wardbeat COMMAND/);
  });

  it('goes on when nobody reads its output any more, and ends in order', async () => {
    const child = spawnManager(dataDir, { WARDBEAT_LOG_LEVEL: 'debug' });
    child.stdout?.destroy();
    child.stderr?.destroy();
    const ended = new Promise<number | null>((resolve) => child.once('exit', resolve));
    const run = await eventually('the manager serves', () => readRunFile(dataDir, child.pid), 60_000);
    for (let call = 0; call < 5; call += 1) expect((await fetch(`${run.adminUrl}/healthz`)).status).to.equal(200);
    child.kill('SIGTERM');
    expect(await ended).to.equal(0);
    expect(existsSync(join(dataDir, 'run.json'))).to.equal(false);
  });

  it('a port in use', async () => {
    const other = createServer();
    await new Promise<void>((resolve) => other.listen(0, '127.0.0.1', resolve));
    const port = String((other.address() as AddressInfo).port);
    try {
      expect(await refused({ WARDBEAT_ADMIN_PORT: port }))
        .to.include(`EADDRINUSE`)
        .and.to.include(port);
    } finally {
      other.close();
    }
  });

  it('a lost key folder makes no new authority', async () => {
    rmSync(keys, { recursive: true });
    const line = await refused();
    expect(line).to.include(fingerprint).and.to.include(keys).and.to.include('restore');
    expect(existsSync(keys) ? readdirSync(keys) : []).to.deep.equal([]);
  });

  it("another authority's key folder", async () => {
    const other = await startManager({ dataDir: join(root, 'other') });
    await other.stop();
    cpSync(join(root, 'other', 'keys'), keys, { recursive: true });
    const before = readdirSync(keys);
    expect(await refused())
      .to.include(fingerprint)
      .and.to.include(other.caFingerprint);
    expect(readdirSync(keys)).to.deep.equal(before);
  });

  it('a root that is missing or makes no sense', async () => {
    const path = join(root, 'other', 'keys', 'root.pem');
    writeFileSync(path, 'nonsense');
    expect(await refused({ WARDBEAT_DATA_DIR: join(root, 'other') })).to.include(path);
    rmSync(path);
    expect(await refused({ WARDBEAT_DATA_DIR: join(root, 'other') })).to.include('root.pem');
  });

  it('a data directory that cannot be', async () => {
    writeFileSync(join(root, 'file'), '');
    expect(await refused({ WARDBEAT_DATA_DIR: join(root, 'file', 'below') })).to.include('ENOTDIR');
  });

  it('a database that nobody serves', async () => {
    expect(await refused({ DATABASE_URL: 'postgres://nobody@127.0.0.1:1/x' })).to.include('ECONNREFUSED');
  });

  it('the restored folder starts again', async () => {
    rmSync(keys, { recursive: true, force: true });
    mkdirSync(keys, { mode: 0o700 });
    cpSync(saved, keys, { recursive: true });
    chmodSync(keys, 0o700);
    const manager = await startManager({ dataDir });
    expect(manager.caFingerprint).to.equal(fingerprint);
    await manager.stop();
  });
});
