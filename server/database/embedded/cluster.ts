import { chownSync, closeSync, existsSync, fsyncSync, lchownSync, lstatSync, openSync } from 'node:fs';
import { readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { ExpectedFailure } from '../../../lib/expected-failure.js';
import { writeDurably } from '../../../lib/durable-file.js';
import type { Random } from '../../../lib/random.js';
import { initdbAccount, makeOwnFolder, underSomeName, type Account } from './launcher.js';
import { renderMaintenanceAccess, SUPERUSER } from './postgres-settings.js';
import { startPostmaster, type PostmasterSite } from './postmaster.js';
import { setUpRoles, type RolePasswords } from './roles.js';
import { runProgram } from './run-program.js';
import { writePublicly } from './write-publicly.js';

const HALF_MADE = 'cluster.new-';

/** True for the final cluster's path and for one that is being made. */
export function isClusterPath(stateFolder: string): (argument: string) => boolean {
  const cluster = join(stateFolder, 'cluster');
  return (argument) => argument === cluster || argument.startsWith(join(stateFolder, HALF_MADE));
}

export interface ClusterOptions extends PostmasterSite {
  readonly stateFolder: string;
  readonly random: Random;
  readonly ownerMayCreateDatabases: boolean;
}

/**
 * The cluster's path and both passwords; makes what is missing. A crash at any moment is mended by the next call:
 *
 * 1. initdb works in a folder with a fresh name; what an earlier attempt has left is removed first.
 * 2. Roles and database are made there, then the passwords are stored, then the folder is renamed into place.
 * 3. Passwords that are lost are set anew on the finished cluster, and stored only after that.
 */
export async function prepareCluster(options: ClusterOptions): Promise<{ cluster: string; passwords: RolePasswords }> {
  const cluster = join(options.stateFolder, 'cluster');
  removeHalfMade(options.stateFolder);
  if (!existsSync(cluster)) {
    const fresh = await initialise(options);
    const passwords = await renewPasswords(options, fresh);
    renameSync(fresh, cluster);
    syncFolder(options.stateFolder);
    return { cluster, passwords };
  }
  takeOwnership(cluster, options.launcher.account);
  const stored = readPasswords(options.stateFolder);
  if (stored) return { cluster, passwords: stored };
  options.log.warn('the passwords of the embedded database are missing and are set anew');
  return { cluster, passwords: await renewPasswords(options, cluster) };
}

function removeHalfMade(stateFolder: string): void {
  for (const name of readdirSync(stateFolder))
    if (name.startsWith(HALF_MADE))
      rmSync(join(stateFolder, name), { recursive: true, force: true, maxRetries: 5, retryDelay: 100 });
}

async function initialise(options: ClusterOptions): Promise<string> {
  const { account } = options.launcher;
  const maker = account && initdbAccount(account);
  const folder = join(options.stateFolder, HALF_MADE + options.random.bytes(8).toString('hex'));
  makeOwnFolder(folder, maker);
  const passwordFile = join(options.runtimeFolder, 'superuser-password');
  writeFileSync(passwordFile, options.random.bytes(32).toString('hex'), { mode: 0o600 });
  if (maker) chownSync(passwordFile, maker.uid, maker.gid);
  const program = options.launcher.program(options.binaries.initdb, initdbArguments(folder, passwordFile), maker);
  const { succeeded, output } = await runProgram(account ? program : underSomeName(program));
  rmSync(passwordFile);
  if (!succeeded) throw new ExpectedFailure(`initdb failed: ${output}`);
  if (account) chownTree(folder, account);
  return folder;
}

function initdbArguments(folder: string, passwordFile: string): readonly string[] {
  return [
    '-D',
    folder,
    `--username=${SUPERUSER}`,
    `--pwfile=${passwordFile}`,
    '--auth=scram-sha-256',
    '--encoding=UTF8',
    '--locale=C',
    '--locale-provider=builtin',
    '--builtin-locale=C.UTF-8',
    '--data-checksums',
    '--no-instructions',
  ];
}

async function renewPasswords(options: ClusterOptions, cluster: string): Promise<RolePasswords> {
  const { random, stateFolder, runtimeFolder, ownerMayCreateDatabases } = options;
  const passwords = { owner: random.bytes(32).toString('hex'), app: random.bytes(32).toString('hex') };
  const accessFile = join(stateFolder, 'pg_hba.maintenance.conf');
  writePublicly(accessFile, renderMaintenanceAccess());
  const postmaster = await startPostmaster(options, { cluster, accessFile });
  try {
    await setUpRoles({ socketFolder: runtimeFolder, passwords, ownerMayCreateDatabases, random });
  } finally {
    await postmaster.stop();
  }
  writeDurably(passwordsPath(stateFolder), JSON.stringify(passwords));
  return passwords;
}

function passwordsPath(stateFolder: string): string {
  return join(stateFolder, 'passwords.json');
}

/** Undefined when the file is absent or cannot be read. */
export function readPasswords(stateFolder: string): RolePasswords | undefined {
  try {
    const { owner, app } = JSON.parse(readFileSync(passwordsPath(stateFolder), 'utf8')) as RolePasswords;
    return typeof owner === 'string' && typeof app === 'string' ? { owner, app } : undefined;
  } catch {
    return undefined;
  }
}

/** A cluster restored or copied by root belongs to root; PostgreSQL insists on owning it. */
function takeOwnership(cluster: string, account: Account | undefined): void {
  const { uid } = lstatSync(cluster);
  const wanted = account?.uid ?? process.getuid?.();
  if (uid === wanted) return;
  if (!account)
    throw new ExpectedFailure(`${cluster} belongs to user ${uid}, and PostgreSQL must own it: run as that user`);
  chownTree(cluster, account);
}

function chownTree(path: string, account: Account): void {
  if (lstatSync(path).isDirectory()) for (const name of readdirSync(path)) chownTree(join(path, name), account);
  lchownSync(path, account.uid, account.gid);
}

function syncFolder(path: string): void {
  const folder = openSync(path, 'r');
  fsyncSync(folder);
  closeSync(folder);
}
