import { chmodSync, chownSync, mkdirSync, readFileSync, rmSync } from 'node:fs';
import { userInfo } from 'node:os';
import { join } from 'node:path';
import { ExpectedFailure } from '../../../lib/expected-failure.js';
import type { Log } from '../../../lib/log.js';
import { userIdsInUse } from './process-table.js';
import { runProgram, type Program } from './run-program.js';

/** A user id with its own group: PostgreSQL refuses to run as root, so root runs it under one that nobody else has. */
export interface Account {
  readonly uid: number;
  readonly gid: number;
}

/** What the private account may do beside its own files; `undefined` account: this process's ordinary user. */
export type Capability = 'none' | 'dac_read_search' | 'dac_override';

export interface Launcher {
  readonly account: Account | undefined;
  readonly capability: Capability;
  /** How to run a PostgreSQL program so that it ends with this process and has no right it does not need. */
  program(path: string, args: readonly string[], account?: Account): Program;
}

/** In the range Debian hands out on demand; not 65534, which other daemons share. */
const PRIVATE_ID = 64_118;
const LADDER: readonly Capability[] = ['none', 'dac_read_search', 'dac_override'];
const SEARCH_PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';
/** Can the account reach and write both folders, and do program and libraries load? */
const PROBE = 'cd "$2" && test -w . && cd "$3" && test -w . && exec "$1" --version';

export interface LauncherOptions {
  readonly postgres: string;
  readonly stateFolder: string;
  readonly runtimeFolder: string;
  readonly account: Account | undefined;
  readonly log: Log;
}

/** The account that the files of a cluster belong to: root gives it a private one, anybody else keeps their own. */
export function privateAccount(): Account | undefined {
  return process.getuid?.() === 0 ? { uid: PRIVATE_ID, gid: PRIVATE_ID } : undefined;
}

/**
 * The first rung of the capability ladder on which PostgreSQL runs (setpriv of util-linux 2.33 or newer does the work).
 * Reading everywhere is needed below a folder that is closed to others, such as /root. Throws with every rung's answer.
 */
export async function chooseLauncher(options: LauncherOptions): Promise<Launcher> {
  const probeFolder = join(options.stateFolder, 'probe');
  rmSync(probeFolder, { recursive: true, force: true });
  makeOwnFolder(probeFolder, options.account);
  const refusals: string[] = [];
  try {
    for (const capability of options.account ? LADDER : LADDER.slice(0, 1)) {
      const launcher = createLauncher(options, capability);
      const words = ['-c', PROBE, 'probe', options.postgres, probeFolder, options.runtimeFolder];
      const { succeeded, output } = await runProgram(launcher.program('/bin/sh', words));
      if (succeeded) {
        options.log.info({ account: options.account?.uid, capability, version: output }, 'embedded PostgreSQL chosen');
        return launcher;
      }
      refusals.push(`${capability}: ${output || 'no access to the data directory'}`);
    }
  } finally {
    rmSync(probeFolder, { recursive: true, force: true });
  }
  throw new ExpectedFailure(`The embedded PostgreSQL does not run here (${refusals.join('; ')})`);
}

function createLauncher(options: LauncherOptions, capability: Capability): Launcher {
  const env = { PATH: SEARCH_PATH, LD_LIBRARY_PATH: join(options.runtimeFolder, 'lib'), LC_ALL: 'C', TZ: 'UTC' };
  return {
    account: options.account,
    capability,
    program: (path, args, account = options.account) => ({
      command: 'setpriv',
      args: [...(account ? rootArguments(account, capability) : []), '--pdeathsig=INT', '--', path, ...args],
      env,
    }),
  };
}

function rootArguments({ uid, gid }: Account, capability: Capability): readonly string[] {
  const kept = capability === 'none' ? '-all' : `-all,+${capability}`;
  return [
    `--reuid=${uid}`,
    `--regid=${gid}`,
    '--clear-groups',
    // Without it the change of user drops the capability that is to be kept.
    ...(capability === 'none' ? [] : ['--securebits=+no_setuid_fixup']),
    `--inh-caps=${kept}`,
    `--ambient-caps=${kept}`,
    `--bounding-set=${kept}`,
    '--no-new-privs',
  ];
}

/** Makes a folder that only the account may enter. */
export function makeOwnFolder(path: string, account: Account | undefined): void {
  mkdirSync(path, { mode: 0o700 });
  chmodSync(path, 0o700);
  if (account) chownSync(path, account.uid, account.gid);
}

/**
 * The account under which root runs initdb, which insists on a name in the user database: the private one if it has a
 * name, else a named system account without any process. Its files are handed to the private account afterwards.
 */
export function initdbAccount(account: Account): Account {
  const named = readUserIds();
  if (named.includes(account.uid)) return account;
  const busy = userIdsInUse();
  const idle = named.filter((uid) => uid > 0 && uid < 1000 && !busy.has(uid));
  const uid = idle.at(-1) ?? named.find((id) => id > 0);
  if (uid === undefined) throw new ExpectedFailure('/etc/passwd names no user but root, and initdb needs one');
  return { uid, gid: account.gid };
}

/**
 * The same program for an ordinary user without a name (a container's arbitrary user id): initdb insists on one, so it
 * runs in a user namespace in which the id is that of a named system account. Files keep their real owner.
 */
export function underSomeName(program: Program): Program {
  if (hasName()) return program;
  const uid = readUserIds().findLast((id) => id > 0 && id < 65_535);
  if (uid === undefined) throw new ExpectedFailure('/etc/passwd names no user but root, and initdb needs one');
  const namespace = [`--map-user=${uid}`, `--map-group=${uid}`, '--', program.command, ...program.args];
  return { ...program, command: 'unshare', args: namespace };
}

function hasName(): boolean {
  try {
    return userInfo().username !== '';
  } catch {
    return false;
  }
}

function readUserIds(): readonly number[] {
  const lines = readFileSync('/etc/passwd', 'utf8').split('\n');
  return lines.map((line) => Number.parseInt(line.split(':')[2] ?? '', 10)).filter(Number.isSafeInteger);
}
