import { spawn, type ChildProcess } from 'node:child_process';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { Clock } from '../../../lib/clock.js';
import { ExpectedFailure } from '../../../lib/expected-failure.js';
import type { Log } from '../../../lib/log.js';
import { linkLibraries, type PostgresBinaries } from './postgres-binaries.js';
import { disarmPostmasterFile, readPostmasterFile } from './postmaster-file.js';
import type { Launcher } from './launcher.js';
import { restoreRuntimeFolder, SOCKET_PORT } from './runtime-folder.js';

/** Everything that a postmaster is started with. */
export interface PostmasterSite {
  readonly binaries: PostgresBinaries;
  readonly launcher: Launcher;
  readonly runtimeFolder: string;
  readonly settingsFile: string;
  readonly clock: Clock;
  readonly log: Log;
}

export interface PostmasterEnd {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

export interface Postmaster {
  readonly pid: number;
  /** Settles when the process has ended, for whatever reason. */
  readonly ended: Promise<PostmasterEnd>;
  /**
   * Waits shortly for connections that are closing, then a fast shutdown: open transactions are rolled back, a
   * checkpoint is written. Harder after a minute.
   */
  stop(): Promise<void>;
}

/** PostgreSQL ended before it was ready; `lines` is what it said last. */
export class PostmasterStartError extends ExpectedFailure {
  readonly lines: readonly string[];

  constructor(lines: readonly string[]) {
    super(`The embedded PostgreSQL ended while it started: ${lines.join(' | ')}`);
    this.name = 'PostmasterStartError';
    this.lines = lines;
  }
}

const POLL_MS = 10;
const SLOW_START_MS = 10_000;
const KEPT_LINES = 20;
const ESCALATION: readonly (readonly [NodeJS.Signals, number])[] = [
  // A pool that has ended is not told when the server has taken leave of its last connection.
  ['SIGTERM', 2_000],
  ['SIGINT', 60_000],
  ['SIGQUIT', 10_000],
  ['SIGKILL', 10_000],
];

export interface ClusterFiles {
  readonly cluster: string;
  readonly accessFile: string;
}

/** Starts PostgreSQL on a cluster and waits until it takes connections. The caller has made sure that none runs. */
export async function startPostmaster(site: PostmasterSite, files: ClusterFiles): Promise<Postmaster> {
  disarmPostmasterFile(files.cluster);
  restoreRuntimeFolder(site.runtimeFolder, site.launcher.account);
  linkLibraries(site.binaries, join(site.runtimeFolder, 'lib'));
  const program = site.launcher.program(site.binaries.postgres, serverArguments(site, files));
  const child = spawn(program.command, [...program.args], {
    cwd: '/',
    env: { ...program.env },
    stdio: ['ignore', 'ignore', 'pipe'],
    // A session of its own: Ctrl-C in the terminal must reach the manager only, which then stops PostgreSQL last.
    detached: true,
  });
  const lines = followLog(child, site.log);
  const ended = endOf(child);
  await untilReady({ site, files, child, ended, lines });
  return { pid: child.pid ?? 0, ended, stop: () => stopProcess(child, ended, site.clock) };
}

function serverArguments(site: PostmasterSite, { cluster, accessFile }: ClusterFiles): readonly string[] {
  const pinned = {
    config_file: site.settingsFile,
    hba_file: accessFile,
    listen_addresses: '',
    unix_socket_directories: site.runtimeFolder,
    port: String(SOCKET_PORT),
  };
  return ['-D', cluster, ...Object.entries(pinned).flatMap(([name, value]) => ['-c', `${name}=${value}`])];
}

function endOf(child: ChildProcess): Promise<PostmasterEnd> {
  return new Promise((resolve) => {
    child.once('error', () => resolve({ code: null, signal: null }));
    child.once('exit', (code, signal) => resolve({ code, signal }));
  });
}

interface Starting {
  readonly site: PostmasterSite;
  readonly files: ClusterFiles;
  readonly child: ChildProcess;
  readonly ended: Promise<PostmasterEnd>;
  readonly lines: readonly string[];
}

/** As pg_ctl does: the status line of postmaster.pid says `ready`. Crash recovery may take minutes. */
async function untilReady({ site, files, child, ended, lines }: Starting): Promise<void> {
  let running = true;
  void ended.then(() => (running = false));
  let warnAt = site.clock.monotonic() + SLOW_START_MS;
  while (running) {
    const file = readPostmasterFile(files.cluster);
    if (file?.ready && file.pid === child.pid) return;
    if (site.clock.monotonic() > warnAt) {
      site.log.warn({ lastLine: lines.at(-1) }, 'embedded PostgreSQL is still starting');
      warnAt += SLOW_START_MS;
    }
    await site.clock.sleep(POLL_MS);
  }
  throw new PostmasterStartError(lines);
}

/** Hands PostgreSQL's messages on by their severity and keeps the last ones for an error. */
function followLog(child: ChildProcess, log: Log): readonly string[] {
  const lines: string[] = [];
  if (!child.stderr) return lines;
  createInterface({ input: child.stderr }).on('line', (line) => {
    lines.push(line);
    if (lines.length > KEPT_LINES) lines.shift();
    log[levelOf(line)]({ postgres: line }, 'message of the embedded PostgreSQL');
  });
  return lines;
}

/** A refused statement is the business of who sent it; a FATAL ends one session, a PANIC the server. */
export function levelOf(line: string): 'error' | 'warn' | 'debug' {
  if (line.startsWith('PANIC:')) return 'error';
  return /^(FATAL|WARNING):/.test(line) ? 'warn' : 'debug';
}

async function stopProcess(child: ChildProcess, ended: Promise<PostmasterEnd>, clock: Clock): Promise<void> {
  for (const [signal, patienceMs] of ESCALATION) {
    child.kill(signal);
    const waiting = new AbortController();
    const patience = clock.sleep(patienceMs, waiting.signal).then(
      () => false,
      () => false,
    );
    const hasEnded = await Promise.race([ended.then(() => true), patience]);
    waiting.abort();
    if (hasEnded) return;
  }
  throw new Error(`The embedded PostgreSQL (process ${child.pid}) does not end`);
}
