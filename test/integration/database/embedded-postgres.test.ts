import { expect } from 'chai';
import { execFileSync, spawn, type ChildProcess } from 'node:child_process';
import { accessSync, chmodSync, chownSync, existsSync, lstatSync, mkdirSync, mkdtempSync, readdirSync } from 'node:fs';
import { readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import pg from 'pg';
import { createSystemClock } from '../../../lib/clock.js';
import { createLog } from '../../../lib/log.js';
import { createSystemRandom } from '../../../lib/random.js';
import type { DatabaseAddress } from '../../../server/database/connection.js';
import { createEmbeddedPostgres, type EmbeddedConnections } from '../../../server/database/embedded-postgres.js';
import { isRunning, readProcessState } from '../../../server/database/embedded/process-table.js';
import { putMadeCluster } from '../../support/made-cluster.js';
import { eventually } from '../../support/poll.js';
import { skipFor } from '../../support/skip.js';

const CHILD = fileURLToPath(new URL('../../support/database-child.js', import.meta.url));
const isRoot = process.getuid?.() === 0;
const ORDINARY_ID = 61_234;

describe('the embedded PostgreSQL', function () {
  this.timeout(60_000);
  let folder: string;
  const children: ChildProcess[] = [];
  const servers: { stop(): Promise<void> }[] = [];

  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'wardbeat-embedded-'));
    chmodSync(folder, 0o755);
  });
  afterEach(async () => {
    for (const server of servers.splice(0)) await server.stop();
    for (const child of children.splice(0)) {
      if (child.exitCode !== null || child.signalCode !== null) continue;
      child.kill('SIGTERM');
      await once(child, 'exit');
    }
    rmSync(folder, { recursive: true, force: true });
  });

  function create(dataDir: string, level: 'silent' | 'warn' = 'silent') {
    const log = createLog({ name: 'embedded-test', level, toStderr: true });
    const server = createEmbeddedPostgres({ dataDir, log, clock: createSystemClock(), random: createSystemRandom() });
    servers.push(server);
    return server;
  }

  async function startChild(
    dataDir: string,
    prefix: readonly string[] = [],
  ): Promise<[ChildProcess, EmbeddedConnections]> {
    const words = [...prefix, process.execPath, CHILD, 'serve', dataDir];
    const child = spawn(words[0]!, words.slice(1), { stdio: ['ignore', 'pipe', 'inherit'], cwd: '/' });
    children.push(child);
    const ended = once(child, 'exit').then(() => Promise.reject(new Error('The child ended before it was ready')));
    const line = once(createInterface({ input: child.stdout }), 'line') as Promise<[string]>;
    const [text] = await Promise.race([line, ended]);
    ended.catch(() => undefined);
    return [child, JSON.parse(text) as EmbeddedConnections];
  }

  it('starts, keeps what was committed over a stop, and leaves no process and no folder behind', async () => {
    const first = create(folder);
    const { ownerConnection } = await first.start();
    await query(ownerConnection, 'CREATE TABLE kept (id integer); INSERT INTO kept VALUES (7)');
    const pid = postmasterPid(folder);
    await first.stop();
    expect(isRunning(pid)).to.equal(false);
    expect(existsSync(ownerConnection.host)).to.equal(false);
    const again = await create(folder).start();
    expect(await query(again.ownerConnection, 'SELECT id FROM kept')).to.deep.equal([{ id: 7 }]);
  });

  it('answers the same start to everyone who asks, and can be stopped twice and started again', async () => {
    await putMadeCluster(folder);
    const server = create(folder);
    const [one, two] = await Promise.all([server.start(), server.start()]);
    expect(one).to.deep.equal(two);
    await Promise.all([server.stop(), server.stop()]);
    const { appConnection } = await server.start();
    expect(await query(appConnection, 'SELECT 1 AS one')).to.deep.equal([{ one: 1 }]);
  });

  it('works again at once after the process that held it is killed, with everything committed', async () => {
    await putMadeCluster(folder);
    const [child, { ownerConnection }] = await startChild(folder);
    await query(ownerConnection, 'CREATE TABLE kept (id integer); INSERT INTO kept VALUES (1)');
    const pid = postmasterPid(folder);
    child.kill('SIGKILL');
    const { ownerConnection: next } = await create(folder).start();
    expect(isRunning(pid)).to.equal(false);
    expect(await query(next, 'SELECT id FROM kept')).to.deep.equal([{ id: 1 }]);
    expect(existsSync(ownerConnection.host), 'the killed process left its socket folder').to.equal(false);
  });

  it('ends by itself when the process that held it is killed', async () => {
    await putMadeCluster(folder);
    const [child] = await startChild(folder);
    const pid = postmasterPid(folder);
    child.kill('SIGKILL');
    await eventually('PostgreSQL ends', () => !isRunning(pid), 10_000);
    // The next start also takes away the socket folder that was left behind.
    await create(folder).start();
  });

  it('mends a first start that was killed at any moment', async () => {
    const watch = join(folder, 'postgres');
    for (const wanted of ['cluster.new-', 'pg_hba.maintenance.conf', 'passwords.json']) {
      rmSync(folder, { recursive: true, force: true });
      mkdirSync(folder);
      const child = spawn(process.execPath, [CHILD, 'serve', folder], { stdio: 'ignore' });
      while (!existsSync(watch) || !readdirSync(watch).some((name) => name.startsWith(wanted)))
        await new Promise((resolve) => setImmediate(resolve));
      child.kill('SIGKILL');
      await once(child, 'exit');
      const server = create(folder);
      const { appConnection } = await server.start();
      expect(await query(appConnection, 'SELECT 1 AS one'), wanted).to.deep.equal([{ one: 1 }]);
      expect(readdirSync(watch).filter((name) => name.startsWith('cluster.new-'))).to.deep.equal([]);
      await server.stop();
    }
  });

  it('removes a half-made cluster and goes on', async () => {
    const half = join(folder, 'postgres', 'cluster.new-0123456789abcdef', 'base');
    mkdirSync(half, { recursive: true });
    writeFileSync(join(half, '1'), 'torn');
    await create(folder).start();
    expect(existsSync(half)).to.equal(false);
  });

  const strangers: readonly [string, string, (pid: number) => boolean][] = [
    ['a living process that is no PostgreSQL', 'echo $$; exec sleep 60', isRunning],
    // It ends when the shell is no shell any more, which would take note of its end.
    ['a zombie', 'sleep 1 & echo $!; exec sleep 60', (pid) => readProcessState(pid)?.state === 'Z'],
  ];
  for (const [what, script, isSo] of strangers)
    it(`starts when postmaster.pid names ${what}`, async () => {
      const server = create(folder);
      await server.start();
      const pidFile = join(folder, 'postgres', 'cluster', 'postmaster.pid');
      const content = readFileSync(pidFile, 'utf8');
      const { uid, gid } = statSync(pidFile);
      await server.stop();
      const shell = spawn('sh', ['-c', script], { stdio: ['ignore', 'pipe', 'ignore'], uid, gid });
      try {
        const [line] = (await once(createInterface({ input: shell.stdout }), 'line')) as [string];
        const stranger = Number(line);
        await eventually(what, () => isSo(stranger));
        writeFileSync(pidFile, content.replace(/^\d+/, line), { mode: 0o600 });
        chownSync(pidFile, uid, gid);
        const { appConnection } = await create(folder).start();
        expect(await query(appConnection, 'SELECT 1 AS one')).to.deep.equal([{ one: 1 }]);
        expect(isSo(stranger)).to.equal(true);
      } finally {
        shell.kill('SIGKILL');
      }
    });

  it('starts when postmaster.pid is torn', async () => {
    await putMadeCluster(folder);
    const server = create(folder);
    await server.start();
    await server.stop();
    const pidFile = join(folder, 'postgres', 'cluster', 'postmaster.pid');
    const { uid, gid } = statSync(join(folder, 'postgres', 'cluster'));
    writeFileSync(pidFile, '');
    chownSync(pidFile, uid, gid);
    await create(folder).start();
  });

  it('is started again, at the same address, when PostgreSQL is killed', async () => {
    await putMadeCluster(folder);
    const { appConnection } = await create(folder).start();
    const pid = postmasterPid(folder);
    process.kill(pid, 'SIGKILL');
    await eventually('the server answers again', () => query(appConnection, 'SELECT 1 AS one'), 20_000);
    expect(postmasterPid(folder)).to.not.equal(pid);
  });

  it('is started again when a cleaner of temporary files has taken its socket folder', async () => {
    await putMadeCluster(folder);
    const { appConnection } = await create(folder).start();
    rmSync(appConnection.host, { recursive: true });
    process.kill(postmasterPid(folder), 'SIGINT');
    await eventually('the server answers again', () => query(appConnection, 'SELECT 1 AS one'), 20_000);
  });

  it('refuses a data directory that a running process holds, and names the process', async () => {
    await putMadeCluster(folder);
    const [child] = await startChild(folder);
    const refusal = await create(folder)
      .start()
      .catch((error: Error) => error.message);
    expect(refusal).to.include(`in use by process ${child.pid}`);
  });

  it('lets neither a superuser in nor anybody without the right password', async () => {
    await putMadeCluster(folder);
    const { ownerConnection } = await create(folder).start();
    const refused = [
      { ...ownerConnection, user: 'wardbeat_superuser', database: 'postgres' },
      { ...ownerConnection, user: 'wardbeat_superuser' },
      { ...ownerConnection, user: 'postgres' },
      { ...ownerConnection, database: 'postgres' },
      { ...ownerConnection, password: 'wrong' },
    ];
    for (const connection of refused) {
      const code = await query(connection, 'SELECT 1').catch((error: { code?: string }) => error.code);
      expect(code, JSON.stringify(connection)).to.be.oneOf(['28000', '28P01']);
    }
    const roles = await query(
      ownerConnection,
      'SELECT rolsuper FROM pg_roles WHERE rolname IN (current_user, $$wardbeat_app$$)',
    );
    expect(roles).to.deep.equal([{ rolsuper: false }, { rolsuper: false }]);
  });

  it('keeps secrets from other users and listens on no network address', async () => {
    const { ownerConnection } = await create(folder).start();
    const state = join(folder, 'postgres');
    expect(statSync(join(state, 'passwords.json')).mode & 0o777).to.equal(0o600);
    expect(statSync(join(state, 'cluster')).mode & 0o777).to.equal(0o700);
    expect(lstatSync(ownerConnection.host).mode & 0o007).to.equal(0);
    const [row] = await query(ownerConnection, "SELECT current_setting('listen_addresses') AS addresses");
    expect(row).to.deep.equal({ addresses: '' });
  });

  it('sets the passwords anew when their file is lost, and keeps the data', async () => {
    await putMadeCluster(folder);
    const server = create(folder);
    const { ownerConnection } = await server.start();
    await query(ownerConnection, 'CREATE TABLE kept (id integer)');
    await server.stop();
    rmSync(join(folder, 'postgres', 'passwords.json'));
    const next = await create(folder).start();
    expect(next.ownerConnection.password).to.not.equal(ownerConnection.password);
    expect(await query(next.ownerConnection, 'SELECT id FROM kept')).to.deep.equal([]);
  });

  it('uses UTF-8, the builtin collation C.UTF-8 and data checksums', async () => {
    const { ownerConnection } = await create(folder).start();
    const [row] = await query(
      ownerConnection,
      `SELECT current_setting('server_encoding') AS encoding, current_setting('data_checksums') AS checksums, datlocprovider AS provider,
       datlocale AS locale FROM pg_database WHERE datname = current_database()`,
    );
    expect(row).to.deep.equal({ encoding: 'UTF8', checksums: 'on', provider: 'b', locale: 'C.UTF-8' });
  });

  it('takes a path far longer than a socket may have, with spaces and colons, relative', async () => {
    const long = join(folder, 'a folder: with a name'.padEnd(200, 'x'), 'data'.padEnd(60, 'y'));
    const { appConnection } = await create(relative(process.cwd(), long)).start();
    expect(await query(appConnection, 'SELECT 1 AS one')).to.deep.equal([{ one: 1 }]);
    expect(existsSync(join(long, 'postgres', 'cluster'))).to.equal(true);
  });

  it('works below a folder that is closed to everybody but its owner', async () => {
    await putMadeCluster(folder);
    const closed = join(folder, 'closed');
    mkdirSync(closed, { mode: 0o700 });
    const { appConnection } = await create(join(closed, 'data')).start();
    expect(await query(appConnection, 'SELECT 1 AS one')).to.deep.equal([{ one: 1 }]);
    expect(statSync(closed).mode & 0o777).to.equal(0o700);
    // CAP_DAC_READ_SEARCH is bit 2 (capability.h): it may read everywhere, and nothing else.
    if (isRoot) expect(rightsOf(postmasterPid(join(closed, 'data')))).to.deep.equal({ caps: 4, bound: 4, locked: 1 });
  });

  it('runs without any capability where it can, for root under an account of its own', async () => {
    const dataDir = join(folder, 'data');
    await create(dataDir).start();
    const pid = postmasterPid(dataDir);
    expect(statSync(dataDir).mode & 0o007).to.equal(0);
    if (!isRoot) return;
    // Below a private folder its own program is behind one that only root passes.
    const needed = isOpenToAll(CHILD) ? 0 : 4;
    expect(rightsOf(pid)).to.deep.equal({ caps: needed, bound: needed, locked: 1 });
    expect(statSync(`/proc/${pid}`).uid).to.not.be.oneOf([0, 65534]);
  });

  it('works for an ordinary user without a name', async function () {
    if (!isRoot) return;
    for (const path of [process.execPath, CHILD]) if (!isOpenToAll(path)) skipFor(this, `${path} readable by all`);
    chownSync(folder, ORDINARY_ID, ORDINARY_ID);
    const become = ['setpriv', `--reuid=${ORDINARY_ID}`, `--regid=${ORDINARY_ID}`, '--clear-groups', '--inh-caps=-all'];
    const [child, { appConnection, ownerConnection }] = await startChild(join(folder, 'data'), become);
    expect(await query(appConnection, 'SELECT 1 AS one')).to.deep.equal([{ one: 1 }]);
    await query(ownerConnection, 'CREATE TABLE kept (id integer)');
    expect(statSync(join(folder, 'data', 'postgres', 'cluster')).uid).to.equal(ORDINARY_ID);
    child.kill('SIGKILL');
    await once(child, 'exit');
    const [, again] = await startChild(join(folder, 'data'), become);
    expect(await query(again.ownerConnection, 'SELECT id FROM kept')).to.deep.equal([]);
  });
});

async function query(connection: DatabaseAddress, sql: string): Promise<unknown[]> {
  const client = new pg.Client({ ...connection });
  client.on('error', () => undefined);
  try {
    await client.connect();
    return (await client.query<object>(sql)).rows;
  } finally {
    await client.end();
  }
}

function postmasterPid(dataDir: string): number {
  return Number.parseInt(readFileSync(join(dataDir, 'postgres', 'cluster', 'postmaster.pid'), 'utf8'), 10);
}

/** Effective and bounding capabilities, and whether it can ever gain others (no_new_privs), by proc(5). */
function rightsOf(pid: number): object {
  const status = readFileSync(`/proc/${pid}/status`, 'latin1');
  const field = (name: string) => Number.parseInt(new RegExp(`^${name}:\\s*(\\S+)`, 'm').exec(status)?.[1] ?? '', 16);
  return { caps: field('CapEff'), bound: field('CapBnd'), locked: field('NoNewPrivs') };
}

/** Can the ordinary user of the test reach the file? Asked as that user, because root may everything. */
function isOpenToAll(path: string): boolean {
  try {
    accessSync(path);
    execFileSync('setpriv', [`--reuid=${ORDINARY_ID}`, `--regid=${ORDINARY_ID}`, '--clear-groups', 'test', '-r', path]);
    return true;
  } catch {
    return false;
  }
}
