import { spawn, type ChildProcess } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';

const MAIN = resolve('dist/agent/main.js');

export interface AgentRun {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface AgentProcess {
  readonly child: ChildProcess;
  stderr(): string;
  /** The end of the process. */
  readonly ended: Promise<AgentRun>;
  kill(signal: NodeJS.Signals): Promise<AgentRun>;
}

export interface AgentRunOptions {
  readonly env?: Record<string, string>;
  readonly input?: string;
  /** Another program than the agent's. */
  readonly main?: string;
}

/** Starts `wardbeat-agent ARGS` as a process of its own. */
export function spawnAgent(args: readonly string[], options: AgentRunOptions = {}) {
  const child = spawn(process.execPath, [options.main ?? MAIN, ...args], {
    stdio: ['pipe', 'pipe', 'pipe'],
    // The machine that runs the tests is not theirs to shut.
    env: { ...process.env, WARDBEAT_FIREWALL: 'off', ...options.env },
  });
  let stdout = '';
  let stderr = '';
  child.stdout.on('data', (chunk: Buffer) => (stdout += chunk.toString('utf8')));
  child.stderr.on('data', (chunk: Buffer) => (stderr += chunk.toString('utf8')));
  child.stdin.on('error', () => undefined);
  child.stdin.end(options.input ?? '');
  const ended = new Promise<AgentRun>((done) => child.once('close', (code) => done({ code, stdout, stderr })));
  const running: AgentProcess = {
    child,
    ended,
    stderr: () => stderr,
    kill(signal) {
      child.kill(signal);
      return ended;
    },
  };
  return running;
}

/** Runs one command to its end. */
export function runAgent(args: readonly string[], options: AgentRunOptions = {}) {
  return spawnAgent(args, options).ended;
}

/** A folder of its own under the system's, and how to remove it. */
export function temporaryFolder(): { path: string; remove(): void } {
  const path = mkdtempSync(join(tmpdir(), 'wardbeat-agent-'));
  return { path, remove: () => rmSync(path, { recursive: true, force: true }) };
}

/** Polls until the condition holds. */
export async function until(what: string, holds: () => boolean | Promise<boolean>, withinMs = 8000): Promise<void> {
  const end = Date.now() + withinMs;
  while (!(await holds())) {
    if (Date.now() > end) throw new Error(`Not within ${withinMs} ms: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}
