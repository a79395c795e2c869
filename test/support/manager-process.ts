import { spawn, type ChildProcess } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { createApiClient, type ApiClient } from './api-client.js';
import { makeDataDir } from './data-dir.js';
import { freePort } from './free-port.js';
import { putMadeCluster } from './made-cluster.js';
import { eventually } from './poll.js';

export { makeDataDir, removeDataDir } from './data-dir.js';

export const ADMIN_PASSWORD = 'correct horse battery';

/** The environment of a manager that lets many agents of one machine enroll at once. */
export const MANY_AGENTS = { WARDBEAT_ENROLL_PER_ADDRESS: '1000', WARDBEAT_ENROLL_TOTAL: '1000' };

/** The environment of a manager that comes back on the ports that it had. */
export const keptPorts = async () => ({
  WARDBEAT_AGENT_PORT: String(await freePort()),
  WARDBEAT_ADMIN_PORT: String(await freePort()),
});

export interface ManagerOptions {
  readonly dataDir?: string;
  readonly env?: Readonly<Record<string, string>>;
  /** It makes its database itself, as on a new machine. */
  readonly isFirstStart?: boolean;
}

interface RunFile {
  readonly pid: number;
  readonly adminUrl: string;
  readonly agentUrl: string;
  readonly caFingerprint: string;
}

/** The real manager as a child process on free ports, with its own data directory. */
export interface ManagerProcess extends RunFile {
  readonly dataDir: string;
  readonly api: ApiClient;
  /** Everything written to stdout and stderr so far. */
  output(): string;
  kill(signal: NodeJS.Signals): void;
  /** Resolves with the exit code (null after a signal). */
  readonly ended: Promise<number | null>;
  /** SIGTERM, then waits for the end. */
  stop(): Promise<void>;
}

export async function startManager({
  dataDir = makeDataDir(),
  env = {},
  isFirstStart = false,
}: ManagerOptions = {}): Promise<ManagerProcess> {
  if (!isFirstStart && env['DATABASE_URL'] === undefined) await putMadeCluster(dataDir);
  const child = spawnManager(dataDir, env);
  let output = '';
  for (const stream of [child.stdout, child.stderr])
    stream?.on('data', (chunk: Buffer) => (output += chunk.toString()));
  const ended = new Promise<number | null>((resolve) => child.once('exit', (code) => resolve(code)));
  let exited = false;
  void ended.then(() => (exited = true));
  const run = await eventually(
    'the manager serves',
    () => {
      if (exited) throw new Error(`The manager ended early:\n${output}`);
      return readRunFile(dataDir, child.pid);
    },
    60_000,
  ).catch((error: unknown) => {
    child.kill('SIGKILL');
    throw new Error(`The manager did not start:\n${output}`, { cause: error });
  });
  const api = createApiClient(run.adminUrl);
  return {
    ...run,
    dataDir,
    api,
    ended,
    output: () => output,
    kill: (signal) => void child.kill(signal),
    async stop() {
      child.kill('SIGTERM');
      await ended;
    },
  };
}

/** Starts the manager and does not wait for anything. */
export function spawnManager(dataDir: string, env: Readonly<Record<string, string>>): ChildProcess {
  const clean = Object.fromEntries(
    Object.entries(process.env).filter(([name]) => !/^(WARDBEAT_|DATABASE_)/.test(name)),
  );
  return spawn(process.execPath, ['--enable-source-maps', 'dist/server/main.js', 'start'], {
    env: {
      ...clean,
      WARDBEAT_DATA_DIR: dataDir,
      WARDBEAT_ADMIN_PORT: '0',
      WARDBEAT_AGENT_PORT: '0',
      WARDBEAT_ADMIN_PASSWORD: ADMIN_PASSWORD,
      ...env,
    },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
}

export function readRunFile(dataDir: string, pid: number | undefined): RunFile | undefined {
  const run = JSON.parse(readFileSync(join(dataDir, 'run.json'), 'utf8')) as RunFile;
  return run.pid === pid ? run : undefined;
}
