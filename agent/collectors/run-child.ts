import { spawn } from 'node:child_process';

export type Ran = { readonly failed: string } | { readonly stdout: string; readonly stderr: string };

export interface ChildCall {
  /** Found on PATH. */
  readonly command: string;
  readonly args: readonly string[];
  readonly maxOutput: number;
  /** What is told where there is no such program. */
  readonly absent: string;
  /** More of the environment. */
  readonly env?: NodeJS.ProcessEnv;
}

/**
 * Runs a program and reads what it says, bounded. The child leads its own process group, so that what it started dies with
 * it at the abort. Rejects with the signal's reason alone.
 */
export function runChild({ command, args, maxOutput, absent, env }: ChildCall, signal: AbortSignal): Promise<Ran> {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'pipe'], detached: true, ...(env ? { env } : {}) });
    const output = { stdout: '', stderr: '' };
    const kill = (): void => killGroup(child.pid);
    const append = (stream: keyof typeof output) => (chunk: string) => {
      if (output[stream].length < maxOutput) output[stream] += chunk;
      else kill();
    };
    // Whole characters, wherever the pieces end.
    child.stdout.setEncoding('utf8').on('data', append('stdout'));
    child.stderr.setEncoding('utf8').on('data', append('stderr'));
    const end = (settle: () => void): void => {
      signal.removeEventListener('abort', kill);
      settle();
    };
    child.once('error', (error: NodeJS.ErrnoException) =>
      end(() => resolve({ failed: error.code === 'ENOENT' ? absent : `${command}: ${error.message}` })),
    );
    child.once('exit', () => void (signal.aborted && child.stdout.destroy() && child.stderr.destroy()));
    child.once('close', () => end(() => (signal.aborted ? reject(signal.reason as Error) : resolve(output))));
    signal.addEventListener('abort', kill, { once: true });
    if (signal.aborted) kill();
  });
}

function killGroup(pid: number | undefined): void {
  if (pid === undefined) return;
  try {
    process.kill(-pid, 'SIGKILL');
  } catch {
    // It has ended.
  }
}
