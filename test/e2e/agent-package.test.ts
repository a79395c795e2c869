import { expect } from 'chai';
import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { join, resolve } from 'node:path';

import { hiddenFault } from '../../agent/service/service-folder.js';
import { packAgent, type AgentArchive } from '../../scripts/pack-agent.js';
import {
  ADMIN_PASSWORD,
  makeDataDir,
  removeDataDir,
  startManager,
  type ManagerProcess,
} from '../support/manager-process.js';
import { eventually } from '../support/poll.js';
import { skipFor } from '../support/skip.js';

/** A user without an entry anywhere. */
const ORDINARY_ID = 54_321;

describe('the agent package', function () {
  this.timeout(120_000);
  const root = makeDataDir();
  const prefix = join(root, 'installed');
  const command = join(prefix, 'node_modules/.bin/wardbeat-agent');
  const { version } = JSON.parse(readFileSync('package.json', 'utf8')) as { version: string };
  const running: ChildProcess[] = [];
  let archive: AgentArchive;
  let manager: ManagerProcess;

  /** Without this checkout, without a registry, without anything of the surrounding npm. */
  const cleanEnv = { PATH: process.env['PATH'] ?? '', HOME: join(root, 'home') };
  const folder = (name: string) => {
    const path = join(root, name);
    mkdirSync(path, { recursive: true });
    return path;
  };
  const newToken = async () => {
    const { items } = await manager.api.get<{ items: { id: string; name: string }[] }>('/policies');
    const policyId = items.find(({ name }) => name === 'Base Policy')?.id;
    const body = { policyId, uses: 1, expiresInSeconds: 600 };
    return (await manager.api.post<{ token: string }>('/enrollment-tokens', body)).token;
  };
  const isOnline = async (computerId: string) =>
    (await manager.api.get<{ status: string }>(`/computers/${computerId}`)).status === 'online';

  before(async () => {
    chmodSync(root, 0o755);
    mkdirSync(cleanEnv.HOME);
    archive = packAgent(folder('out'));
    manager = await startManager({ dataDir: join(root, 'manager') });
    await manager.api.signIn('admin', ADMIN_PASSWORD);
  });

  after(async () => {
    for (const child of running) child.kill('SIGKILL');
    await manager?.stop();
    removeDataDir(root);
  });

  it('is one archive named by its version, the same bytes each time', () => {
    expect(archive.file).to.equal(join(root, 'out', `wardbeat-agent-${version}.tgz`));
    const umask = process.umask(0o077);
    try {
      expect(packAgent(folder('again')).sha256).to.equal(archive.sha256);
    } finally {
      process.umask(umask);
    }
    expect(archive.bytes).to.be.lessThan(3_000_000);
  });

  it('installs without a registry and without scripts of packages', () => {
    const flags = [
      '--prefix',
      folder('installed'),
      '--offline',
      '--registry=http://127.0.0.1:9/',
      '--cache',
      folder('cache'),
    ];
    const npm = spawnSync('npm', ['install', ...flags, archive.file], { env: cleanEnv, cwd: root, encoding: 'utf8' });
    expect(npm.status, npm.stderr).to.equal(0);
    expect(statSync(command).mode & 0o111).to.equal(0o111);
    expect(readFileSync(command, 'utf8')).to.match(/^#!\/usr\/bin\/env node\n/);
    const manifests = installedFiles(prefix).filter((path) => path.endsWith('/package.json'));
    const scripted = manifests.filter((path) => 'scripts' in (JSON.parse(readFileSync(path, 'utf8')) as object));
    expect(scripted).to.deep.equal([]);
  });

  it('installs globally too', () => {
    const flags = [
      '-g',
      '--prefix',
      folder('global'),
      '--offline',
      '--registry=http://127.0.0.1:9/',
      '--cache',
      folder('cache'),
    ];
    const npm = spawnSync('npm', ['install', ...flags, archive.file], { env: cleanEnv, cwd: root, encoding: 'utf8' });
    expect(npm.status, npm.stderr).to.equal(0);
    const help = spawnSync(join(root, 'global/bin/wardbeat-agent'), ['--help'], { env: cleanEnv, encoding: 'utf8' });
    expect(help.stdout).to.contain('wardbeat-agent COMMAND');
    const shown = spawnSync(join(root, 'global/bin/wardbeat-agent'), ['--version'], {
      env: cleanEnv,
      encoding: 'utf8',
    });
    expect(shown.stdout.trim()).to.equal(version);
  });

  it('holds the agent and what it loads, nothing of the server, of tests or of tools', () => {
    const own = join(prefix, 'node_modules/wardbeat-agent');
    const files = installedFiles(own).map((path) => path.slice(own.length + 1));
    const tops = new Set(files.map((path) => path.split('/')[0]));
    expect([...tops].sort()).to.deep.equal(
      ['README.md', 'agent', 'certs', 'lib', 'node_modules', 'package.json', 'policies', 'protocol'].sort(),
    );
    const unwanted =
      /(?:^|\/)(?:server|tests?|scripts|typeorm|express|pg|node-forge|typescript|mocha|chai)(?:\/|$)|\.(?:ts|map|cc|gyp)$/;
    expect(files.filter((path) => unwanted.test(path))).to.deep.equal([]);
    expect(files.filter((path) => /authority|key-store|encoder/.test(path))).to.deep.equal([]);
  });

  it('enrolls from a second directory, runs and is online', async () => {
    const here = folder('second');
    const token = await newToken();
    const enrolled = spawnSync(
      command,
      ['enroll', '--manager', manager.agentUrl, '--token', '-', '--name', 'db1', '--json'],
      {
        cwd: here,
        env: cleanEnv,
        input: token,
        encoding: 'utf8',
      },
    );
    expect(enrolled.status, enrolled.stderr).to.equal(0);
    expect(existsSync(join(here, 'agent-data/identity.json'))).to.equal(true);
    const { computerId } = JSON.parse(enrolled.stdout) as { computerId: string };
    running.push(spawn(command, ['run'], { cwd: here, env: cleanEnv, stdio: 'ignore' }));
    await eventually('it is online', () => isOnline(computerId));
    const shown = await manager.api.get<{ agentVersion: string }>(`/computers/${computerId}`);
    expect(shown.agentVersion).to.equal(version);
    const range = spawnSync(command, ['emit', '--kind', 'log', '--severity', 'info', '--message', 'm'], {
      cwd: here,
      env: cleanEnv,
      encoding: 'utf8',
    });
    expect(JSON.parse(range.stdout), range.stderr).to.include({ lane: 'log', first: 0, last: 0 });
  });

  it('writes a unit that runs it where it is installed', function () {
    const hidden = hiddenFault(process.execPath);
    if (hidden !== undefined) skipFor(this, `a Node.js for all users: this one ${hidden}`);
    const below = ['install', '--root', root];
    const made = spawnSync(join(root, 'global/bin/wardbeat-agent'), below, { env: cleanEnv, encoding: 'utf8' });
    expect(made.status, made.stderr).to.equal(0);
    const unit = readFileSync(join(root, 'etc/systemd/system/wardbeat-agent.service'), 'utf8');
    const main = '/global/lib/node_modules/wardbeat-agent/agent/main.js';
    expect(unit).to.contain(`ExecStart=${process.execPath} ${main} run --dir /var/lib/wardbeat-agent`);
  });

  it('runs as another, ordinary user', async function () {
    const drop = ['--reuid', `${ORDINARY_ID}`, '--regid', `${ORDINARY_ID}`, '--clear-groups', '--'];
    if (process.getuid?.() !== 0) skipFor(this, 'root, to become another user');
    if (spawnSync('setpriv', [...drop, process.execPath, '--version']).status !== 0)
      skipFor(this, 'setpriv, and a Node.js that other users can run');
    const here = folder('third');
    chownSync(here, ORDINARY_ID, ORDINARY_ID);
    const tokenFile = join(here, 'token');
    writeFileSync(tokenFile, await newToken(), { mode: 0o600 });
    chownSync(tokenFile, ORDINARY_ID, ORDINARY_ID);
    const enroll = ['enroll', '--manager', manager.agentUrl, '--token-file', 'token', '--name', 'lab1', '--json'];
    const options = { cwd: here, env: cleanEnv, encoding: 'utf8' as const };
    const enrolled = spawnSync('setpriv', [...drop, command, ...enroll], options);
    expect(enrolled.status, enrolled.stderr).to.equal(0);
    const { computerId } = JSON.parse(enrolled.stdout) as { computerId: string };
    const agent = spawn('setpriv', [...drop, command, 'run'], { ...options, stdio: 'ignore' });
    running.push(agent);
    await eventually('it is online', () => isOnline(computerId));
    expect(readFileSync(`/proc/${agent.pid}/status`, 'utf8')).to.match(new RegExp(`^Uid:\\s+${ORDINARY_ID}\\s`, 'm'));
    expect(statSync(join(here, 'agent-data/agent.key'))).to.include({ uid: ORDINARY_ID, mode: 0o100600 });
  });
});

describe('npm run build', function () {
  this.timeout(60_000);

  it('makes both commands executable', () => {
    expect(spawnSync('npm', ['run', '--silent', 'build']).status).to.equal(0);
    for (const [name, target] of [
      ['wardbeat', 'server'],
      ['wardbeat-agent', 'agent'],
    ] as const) {
      expect(statSync(`dist/${target}/main.js`).mode & 0o111).to.equal(0o111);
      const help = spawnSync(resolve('dist/bin', name), ['--help'], { encoding: 'utf8' });
      expect(help.stdout).to.contain(name);
    }
  });
});

function installedFiles(top: string): string[] {
  return readdirSync(top, { withFileTypes: true, recursive: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name));
}
