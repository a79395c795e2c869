import { spawn, type ChildProcess } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Clock } from '../../lib/clock.js';

const MAIN = fileURLToPath(new URL('../../server/main.js', import.meta.url));
const START_LIMIT_MS = 60_000;
const POLL_MS = 50;

/** The real manager in a process of its own, on free ports and an embedded database in a folder of its own. */
export interface ManagerChild {
  readonly pid: number;
  readonly dataDir: string;
  readonly adminUrl: string;
  readonly agentUrl: string;
  readonly adminPassword: string;
  /** What it wrote to stderr, most recent last. */
  log(): string;
  /** Ends it and removes its folder. */
  stop(): Promise<void>;
}

export interface ManagerChildOptions {
  readonly clock: Clock;
  readonly adminPassword: string;
  /** Writes a CPU profile into this folder at its end. */
  readonly profileDir?: string | undefined;
}

const LOG_CHARACTERS = 20_000;

export async function startManagerChild(options: ManagerChildOptions): Promise<ManagerChild> {
  const { clock, adminPassword } = options;
  const dataDir = mkdtempSync(join(tmpdir(), 'wardbeat-bench-'));
  const child = spawnManager(dataDir, options);
  let log = '';
  child.stderr?.on('data', (chunk: Buffer) => (log = (log + chunk.toString()).slice(-LOG_CHARACTERS)));
  const ended = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  const stop = async (): Promise<void> => {
    child.kill('SIGTERM');
    await ended;
    rmSync(dataDir, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 });
  };
  const giveUpAt = clock.monotonic() + START_LIMIT_MS;
  for (;;) {
    const run = readRunFile(dataDir, child.pid);
    if (run) return { ...run, dataDir, adminPassword, stop, log: () => log };
    if (child.exitCode !== null || clock.monotonic() > giveUpAt) {
      await stop();
      throw new Error(`The manager did not start:\n${log}`);
    }
    await clock.sleep(POLL_MS);
  }
}

function spawnManager(dataDir: string, { adminPassword, profileDir }: ManagerChildOptions): ChildProcess {
  const clean = Object.fromEntries(
    Object.entries(process.env).filter(([name]) => !/^(WARDBEAT_|DATABASE_)/.test(name)),
  );
  const profiling = profileDir === undefined ? [] : ['--cpu-prof', `--cpu-prof-dir=${profileDir}`];
  return spawn(process.execPath, [...profiling, '--enable-source-maps', MAIN, 'start'], {
    env: {
      ...clean,
      WARDBEAT_DATA_DIR: dataDir,
      WARDBEAT_ADMIN_PORT: '0',
      WARDBEAT_AGENT_PORT: '0',
      WARDBEAT_ADMIN_PASSWORD: adminPassword,
      WARDBEAT_PUBLIC_HOSTS: 'localhost,127.0.0.1',
    },
    stdio: ['ignore', 'ignore', 'pipe'],
  });
}

interface RunFile {
  readonly pid: number;
  readonly adminUrl: string;
  readonly agentUrl: string;
}

function readRunFile(dataDir: string, pid: number | undefined): RunFile | undefined {
  try {
    const run = JSON.parse(readFileSync(join(dataDir, 'run.json'), 'utf8')) as RunFile;
    return run.pid === pid ? run : undefined;
  } catch {
    return undefined;
  }
}
