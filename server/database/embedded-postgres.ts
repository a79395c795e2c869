import { chmodSync, chownSync, existsSync, mkdirSync, realpathSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { backoffDelayMs } from '../../lib/backoff.js';
import type { Clock } from '../../lib/clock.js';
import { CleanupStack } from '../../lib/lifecycle.js';
import type { Log } from '../../lib/log.js';
import type { Random } from '../../lib/random.js';
import type { DatabaseAddress } from './connection.js';
import { isClusterPath, prepareCluster, readPasswords, type ClusterOptions } from './embedded/cluster.js';
import { chooseLauncher, privateAccount } from './embedded/launcher.js';
import { endOrphans } from './embedded/orphans.js';
import { claimFolder } from './embedded/owner-file.js';
import { findPostgresBinaries, linkLibraries } from './embedded/postgres-binaries.js';
import { APP_ROLE, DATABASE_NAME, OWNER_ROLE, renderAccess, renderSettings } from './embedded/postgres-settings.js';
import { startPostmaster, type ClusterFiles, type Postmaster } from './embedded/postmaster.js';
import type { RolePasswords } from './embedded/roles.js';
import { makeRuntimeFolder, readRuntimeFolder, removeRuntimeFolder, SOCKET_PORT } from './embedded/runtime-folder.js';
import { writePublicly } from './embedded/write-publicly.js';

export interface EmbeddedPostgresOptions {
  /** The manager's data directory, absolute or relative, of any length; everything is kept in `postgres/` below it. */
  readonly dataDir: string;
  readonly log: Log;
  readonly clock: Clock;
  readonly random: Random;
  /** Laid over our own settings of PostgreSQL. */
  readonly settings?: Readonly<Record<string, string>>;
  /** Lets the owner make databases and both roles into all of them; for tests. */
  readonly ownerMayCreateDatabases?: boolean;
}

export interface EmbeddedConnections {
  readonly ownerConnection: DatabaseAddress;
  readonly appConnection: DatabaseAddress;
}

export interface EmbeddedPostgres {
  /**
   * Resolves when PostgreSQL takes connections. From then on it is started again whenever it ends by itself, at the
   * same address. Throws when another process uses the data directory or PostgreSQL cannot run here.
   */
  start(): Promise<EmbeddedConnections>;
  /** Shuts PostgreSQL down (open transactions are rolled back) and waits for its end. */
  stop(): Promise<void>;
}

/** Whether a manager with an embedded database was ever started on the data directory. */
export function hasEmbeddedPostgres(dataDir: string): boolean {
  return existsSync(join(dataDir, 'postgres', 'cluster'));
}

/**
 * How to reach the server that another process has started on the data directory; undefined when none is recorded. Only
 * the owner of the data directory can read it.
 */
export function readEmbeddedConnections(dataDir: string): EmbeddedConnections | undefined {
  const stateFolder = join(dataDir, 'postgres');
  const folder = readRuntimeFolder(join(stateFolder, 'runtime-folder'));
  const passwords = readPasswords(stateFolder);
  return folder === undefined || passwords === undefined ? undefined : connectionsTo(folder, passwords);
}

const RESTART_BACKOFF = { firstMs: 100, capMs: 10_000 };
/** Backends of a killed postmaster hold its shared memory until they notice. */
const FIRST_START_ATTEMPTS = 8;

/** Supervises a PostgreSQL of our own: no TCP, no superuser who could log in, ended by the kernel when we are killed. */
export function createEmbeddedPostgres(options: EmbeddedPostgresOptions): EmbeddedPostgres {
  let running: Promise<RunningServer> | undefined;
  return {
    async start() {
      running ??= startServer(options);
      const attempt = running;
      try {
        return (await attempt).connections;
      } catch (error) {
        if (running === attempt) running = undefined;
        throw error;
      }
    },
    async stop() {
      const server = await running?.catch(() => undefined);
      await server?.stop();
      running = undefined;
    },
  };
}

interface RunningServer {
  readonly connections: EmbeddedConnections;
  stop(): Promise<void>;
}

async function startServer(options: EmbeddedPostgresOptions): Promise<RunningServer> {
  const cleanup = new CleanupStack();
  try {
    const stateFolder = makeStateFolder(options.dataDir);
    cleanup.push('owner file', await claimFolder(join(stateFolder, 'owner.json'), options.clock));
    await endOrphans(isClusterPath(stateFolder), options);
    const site = await prepareSite(options, stateFolder, cleanup);
    const { cluster, passwords } = await prepareCluster(site);
    const accessFile = join(stateFolder, 'pg_hba.conf');
    writePublicly(accessFile, renderAccess(site.ownerMayCreateDatabases ? 'all' : 'own'));
    const supervisor = await superviseServer(site, { cluster, accessFile });
    cleanup.push('server', supervisor);
    return { connections: connectionsTo(site.runtimeFolder, passwords), stop: () => cleanup.unwind() };
  } catch (error) {
    await cleanup.unwind((name, fault) =>
      options.log.warn({ name, err: fault }, 'clean-up after a failed start failed'),
    );
    throw error;
  }
}

function makeStateFolder(dataDir: string): string {
  mkdirSync(dataDir, { recursive: true, mode: 0o700 });
  const parent = realpathSync(dataDir);
  const folder = join(parent, 'postgres');
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  for (const path of [parent, folder]) letThrough(path);
  return folder;
}

/**
 * A folder that root keeps to itself is opened to the private account of PostgreSQL, for passing through only: far less
 * than the capability to read everything, which it would need otherwise.
 */
function letThrough(folder: string): void {
  const account = privateAccount();
  const { uid, mode } = statSync(folder);
  if (!account || uid !== 0 || (mode & 0o077) !== 0) return;
  chownSync(folder, uid, account.gid);
  chmodSync(folder, 0o710);
}

async function prepareSite(
  options: EmbeddedPostgresOptions,
  stateFolder: string,
  cleanup: CleanupStack,
): Promise<ClusterOptions> {
  const { log, clock, random, ownerMayCreateDatabases = false } = options;
  const binaries = findPostgresBinaries();
  const account = privateAccount();
  const record = join(stateFolder, 'runtime-folder');
  const runtimeFolder = makeRuntimeFolder(record, account);
  cleanup.push('runtime folder', () => removeRuntimeFolder(record));
  linkLibraries(binaries, join(runtimeFolder, 'lib'));
  const launcher = await chooseLauncher({ postgres: binaries.postgres, stateFolder, runtimeFolder, account, log });
  const settingsFile = join(stateFolder, 'postgresql.conf');
  writePublicly(settingsFile, renderSettings(options.settings));
  return { binaries, launcher, runtimeFolder, settingsFile, clock, log, random, stateFolder, ownerMayCreateDatabases };
}

function connectionsTo(host: string, passwords: RolePasswords): EmbeddedConnections {
  const address = { host, port: SOCKET_PORT, database: DATABASE_NAME };
  return {
    ownerConnection: { ...address, user: OWNER_ROLE, password: passwords.owner },
    appConnection: { ...address, user: APP_ROLE, password: passwords.app },
  };
}

/** Starts the server and keeps it up; answers how to end both. */
async function superviseServer(site: ClusterOptions, files: ClusterFiles): Promise<() => Promise<void>> {
  const stopping = new AbortController();
  let current: Postmaster | undefined = await startPatiently(site, files, {
    signal: stopping.signal,
    attempts: FIRST_START_ATTEMPTS,
  });
  const supervise = async (): Promise<void> => {
    while (current) {
      const end = await current.ended;
      if (stopping.signal.aborted) return;
      site.log.error(end, 'embedded PostgreSQL ended unexpectedly and is started again');
      current = await startPatiently(site, files, { signal: stopping.signal, attempts: Infinity });
      if (stopping.signal.aborted) return current?.stop();
      site.log.info({ pid: current?.pid }, 'embedded PostgreSQL is up again');
    }
  };
  const supervision = supervise();
  return async () => {
    stopping.abort();
    await current?.stop();
    await supervision;
  };
}

interface Patience {
  readonly signal: AbortSignal;
  readonly attempts: number;
}

/** Tries again with back-off; undefined when it was told to stop. Throws the last error after `attempts`. */
async function startPatiently(
  site: ClusterOptions,
  files: ClusterFiles,
  { signal, attempts }: Patience,
): Promise<Postmaster | undefined> {
  for (let attempt = 0; !signal.aborted; attempt += 1) {
    try {
      return await startPostmaster(site, files);
    } catch (error) {
      if (attempt + 1 >= attempts) throw error;
      site.log.warn({ err: error, attempt }, 'embedded PostgreSQL did not start');
    }
    await site.clock.sleep(backoffDelayMs(attempt, RESTART_BACKOFF, site.random), signal).catch(() => undefined);
  }
  return undefined;
}
