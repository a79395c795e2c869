import { expect } from 'chai';
import { spawnSync } from 'node:child_process';
import {
  chmodSync,
  chownSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { dataDirectory } from '../../../agent/data-directory.js';
import { readSecret, writeLocalProxies, writeSecret } from '../../../agent/proxies/proxy-files.js';
import { FakeManager } from '../../support/agent-fake-manager.js';
import { enrollInProcess } from '../../support/agent-in-process.js';
import { runAgent, spawnAgent, temporaryFolder, until, type AgentProcess } from '../../support/agent-process.js';
import { skipFor } from '../../support/skip.js';

const NOBODY = 65_534;
const PASSWORD = 'correct-horse-battery';

describe('another user on the host of an agent', function () {
  this.timeout(60_000);
  let folder: ReturnType<typeof temporaryFolder>;
  let manager: FakeManager;
  let agent: AgentProcess | undefined;
  const dir = () => join(folder.path, 'agent');
  const at = (...names: string[]) => join(dir(), ...names);
  const start = async (): Promise<void> => {
    agent = spawnAgent(['run', '--dir', dir()]);
    await until('it is in contact', () => manager.reports.length > 0, 20_000);
  };
  const stop = async (): Promise<void> => {
    await agent?.kill('SIGKILL');
    agent = undefined;
  };
  /** The agent ends with 2 and names the path. */
  const isRefused = async (path: string, fault: RegExp): Promise<void> => {
    const { code, stderr } = await runAgent(['run', '--dir', dir()]);
    expect(code, stderr).to.equal(2);
    expect(stderr).to.contain(path).and.match(fault);
  };

  beforeEach(async () => {
    folder = temporaryFolder();
    manager = await FakeManager.start(folder.path);
    await enrollInProcess(dataDirectory(dir()), manager);
  });
  afterEach(async () => {
    await stop();
    await manager.close();
    folder.remove();
  });

  it('can read none of its files and call it by none', async () => {
    chmodSync(dir(), 0o755);
    chmodSync(at(), 0o755);
    writeSecret({ path: dir() }, 'office', { username: 'web1', password: PASSWORD });
    await start();
    await until('its socket is there', () => existsSync(at('agent.sock')));
    expect(lstatSync(dir()).mode & 0o777).to.equal(0o700);
    expect(lstatSync(at('store')).mode & 0o777).to.equal(0o700);
    for (const name of ['agent.key', 'agent.crt', 'root.crt', 'identity.json', 'secrets.json', 'agent.sock'])
      expect(lstatSync(at(name)).mode & 0o777, name).to.equal(0o600);
  });

  it('is kept out of its socket by the kernel', async function () {
    if (process.getuid?.() !== 0) skipFor(this, 'root, to be somebody else');
    if (spawnSync('setpriv', ['--version']).status !== 0) skipFor(this, 'setpriv');
    await start();
    await until('its socket is there', () => existsSync(at('agent.sock')));
    chmodSync(folder.path, 0o755);
    // Even where somebody has opened the folder again, the socket itself is the owner's alone.
    for (const mode of [0o700, 0o755]) {
      chmodSync(dir(), mode);
      const script = `require('net').connect(${JSON.stringify(at('agent.sock'))}).on('error', (e) => { console.log(e.code); process.exit(0) }).on('connect', () => { console.log('connected'); process.exit(0) })`;
      const nobody = ['--reuid', String(NOBODY), '--regid', String(NOBODY), '--clear-groups'];
      const { stdout } = spawnSync('setpriv', [...nobody, process.execPath, '-e', script], {
        encoding: 'utf8',
        cwd: '/',
      });
      expect(stdout.trim(), mode.toString(8)).to.equal('EACCES');
    }
  });

  it('finds no secret in its environment and its arguments', async () => {
    writeSecret({ path: dir() }, 'office', { username: 'web1', password: PASSWORD });
    writeLocalProxies({ path: dir() }, { proxies: [], direct: true });
    await start();
    const { pid } = agent!.child;
    const shown = ['environ', 'cmdline'].map((name) => readFileSync(`/proc/${pid}/${name}`, 'latin1')).join('\n');
    for (const secret of [PASSWORD, manager.secret, manager.token]) expect(shown).to.not.contain(secret);
    expect(shown).to.not.match(/PRIVATE KEY|wbt_/);
    expect(agent!.stderr()).to.not.contain(PASSWORD);
  });

  const files = ['agent.key', 'agent.crt', 'root.crt', 'identity.json', 'proxies.json'];
  for (const name of files)
    it(`plants a link at ${name}: refused by its name`, async () => {
      const elsewhere = join(folder.path, `planted-${name}`);
      if (existsSync(at(name))) renameSync(at(name), elsewhere);
      else writeFileSync(elsewhere, '{"proxies":[],"direct":true}');
      symlinkSync(elsewhere, at(name));
      await isRefused(at(name), /symbolic link/);
    });

  it('plants a link at the folder itself, or owns it', async function () {
    const elsewhere = join(folder.path, 'elsewhere');
    renameSync(dir(), elsewhere);
    symlinkSync(elsewhere, dir());
    await isRefused(dir(), /symbolic link/);
    rmSync(dir());
    renameSync(elsewhere, dir());
    if (process.getuid?.() !== 0) skipFor(this, 'root, to give a folder away');
    chownSync(dir(), NOBODY, NOBODY);
    await isRefused(dir(), /belongs to user 65534/);
  });

  it('plants links in the place of the spool, its lock and its files', async () => {
    const elsewhere = join(folder.path, 'elsewhere');
    mkdirSync(elsewhere);
    symlinkSync(elsewhere, at('store'));
    await isRefused(at('store'), /symbolic link/);
    expect(readdirSync(elsewhere)).to.deep.equal([]);
    rmSync(at('store'));
    const precious = join(folder.path, 'precious');
    for (const name of ['LOCK', 'LOG', 'CURRENT', '000003.log', 'MANIFEST-000001']) {
      mkdirSync(at('store'), { mode: 0o700 });
      writeFileSync(precious, 'precious');
      symlinkSync(precious, at('store', name));
      await isRefused(at('store', name), /symbolic link/);
      expect(readFileSync(precious, 'utf8'), name).to.equal('precious');
      rmSync(at('store'), { recursive: true });
    }
  });

  it('plants a link or a file at the socket', async () => {
    const precious = join(folder.path, 'precious');
    writeFileSync(precious, 'precious');
    symlinkSync(precious, at('agent.sock'));
    await isRefused(at('agent.sock'), /symbolic link/);
    rmSync(at('agent.sock'));
    writeFileSync(at('agent.sock'), '');
    await isRefused(at('agent.sock'), /no socket/);
    expect(readFileSync(precious, 'utf8')).to.equal('precious');
  });

  it('plants a link at the secrets: they are not used', async () => {
    const elsewhere = join(folder.path, 'planted');
    writeFileSync(elsewhere, JSON.stringify({ office: { username: 'u', password: PASSWORD } }), { mode: 0o600 });
    symlinkSync(elsewhere, at('secrets.json'));
    expect(() => readSecret({ path: dir() }, 'office')).to.throw(/secrets\.json is a symbolic link/);
  });
});
