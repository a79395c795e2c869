import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, realpathSync } from 'node:fs';
import { join } from 'node:path';
import { createSystemClock } from '../../lib/clock.js';
import { createLog } from '../../lib/log.js';
import { createSystemRandom } from '../../lib/random.js';
import { prepareCluster } from '../../server/database/embedded/cluster.js';
import { chooseLauncher, privateAccount } from '../../server/database/embedded/launcher.js';
import { findPostgresBinaries, linkLibraries } from '../../server/database/embedded/postgres-binaries.js';
import {
  APP_ROLE,
  DATABASE_NAME,
  OWNER_ROLE,
  renderSettings,
} from '../../server/database/embedded/postgres-settings.js';
import { disarmPostmasterFile, readPostmasterFile } from '../../server/database/embedded/postmaster-file.js';
import { makeRuntimeFolder, removeRuntimeFolder } from '../../server/database/embedded/runtime-folder.js';
import { writePublicly } from '../../server/database/embedded/write-publicly.js';
import { freePort } from './free-port.js';
import { eventually } from './poll.js';

/** A PostgreSQL on a TCP port of loopback that no manager starts, stops or watches. */
export interface ExternalPostgres {
  /** The environment of a manager that uses it. */
  readonly env: { readonly DATABASE_URL: string; readonly DATABASE_OWNER_URL: string };
  /** Resolves when it takes connections. */
  start(): Promise<void>;
  /** As `pg_ctl stop -m immediate` does: every connection breaks, nothing is written any more. */
  stopImmediately(): Promise<void>;
  /** Stops it and removes what lies outside its folder. */
  end(): Promise<void>;
}

/** Makes a cluster with both roles in `folder`; not started yet. */
export async function createExternalPostgres(folder: string): Promise<ExternalPostgres> {
  mkdirSync(folder, { recursive: true, mode: 0o755 });
  const stateFolder = realpathSync(folder);
  const account = privateAccount();
  const binaries = findPostgresBinaries();
  const record = join(stateFolder, 'runtime-folder');
  const runtimeFolder = makeRuntimeFolder(record, account);
  linkLibraries(binaries, join(runtimeFolder, 'lib'));
  const log = createLog({ name: 'external-postgres', level: 'error', toStderr: true });
  const launcher = await chooseLauncher({ postgres: binaries.postgres, stateFolder, runtimeFolder, account, log });
  const settingsFile = join(stateFolder, 'postgresql.conf');
  writePublicly(settingsFile, renderSettings());
  const { cluster, passwords } = await prepareCluster({
    binaries,
    launcher,
    runtimeFolder,
    settingsFile,
    stateFolder,
    log,
    ownerMayCreateDatabases: false,
    clock: createSystemClock(),
    random: createSystemRandom(),
  });
  const accessFile = join(stateFolder, 'pg_hba.conf');
  writePublicly(accessFile, `host ${DATABASE_NAME} ${OWNER_ROLE},${APP_ROLE} 127.0.0.1/32 scram-sha-256\n`);
  const port = await freePort();
  const options = {
    config_file: settingsFile,
    hba_file: accessFile,
    listen_addresses: '127.0.0.1',
    unix_socket_directories: runtimeFolder,
    port: String(port),
  };
  const words = ['-D', cluster, ...Object.entries(options).flatMap(([name, value]) => ['-c', `${name}=${value}`])];
  let server: ChildProcess | undefined;
  const stopImmediately = async (): Promise<void> => {
    if (!server || server.exitCode !== null) return;
    const exited = once(server, 'exit');
    server.kill('SIGQUIT');
    await exited;
    server = undefined;
  };
  const urlOf = (role: string, password: string) => `postgres://${role}:${password}@127.0.0.1:${port}/${DATABASE_NAME}`;
  return {
    env: { DATABASE_URL: urlOf(APP_ROLE, passwords.app), DATABASE_OWNER_URL: urlOf(OWNER_ROLE, passwords.owner) },
    stopImmediately,
    async start() {
      disarmPostmasterFile(cluster);
      const { command, args, env } = launcher.program(binaries.postgres, words);
      const child = spawn(command, [...args], { cwd: '/', env: { ...env }, stdio: 'ignore' });
      server = child;
      await eventually('PostgreSQL takes connections', () => {
        const file = readPostmasterFile(cluster);
        return file?.ready && file.pid === child.pid;
      });
    },
    async end() {
      await stopImmediately();
      removeRuntimeFolder(record);
    },
  };
}
