import { spawn, type ChildProcess } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';

export interface CliAnswer {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

const BIN = 'dist/agent/main.js';

/** Runs `wardbeat-agent ARGS` as a real process to its end. */
export function runAgentCli(args: readonly string[], env: Readonly<Record<string, string>> = {}): Promise<CliAnswer> {
  const child = spawn(process.execPath, [BIN, ...args], { env: agentEnv(env), stdio: ['ignore', 'pipe', 'pipe'] });
  let [stdout, stderr] = ['', ''];
  child.stdout.on('data', (chunk: Buffer) => (stdout += chunk.toString()));
  child.stderr.on('data', (chunk: Buffer) => (stderr += chunk.toString()));
  return new Promise((resolve) => child.once('close', (code) => resolve({ code, stdout, stderr })));
}

/** A running `wardbeat-agent run`. */
export interface RunningAgent {
  readonly process: ChildProcess;
  output(): string;
  kill(signal: NodeJS.Signals): Promise<void>;
}

/** Where an agent runs instead of on the machine itself, and as whom. */
export interface Elsewhere {
  /** The words that run a program there. */
  words(program: string, args: readonly string[]): readonly [string, readonly string[]];
}

/** An agent that runs elsewhere has the packet filter of that place. */
export function startAgent(dir: string, args: readonly string[] = [], elsewhere?: Elsewhere): RunningAgent {
  const run = [BIN, 'run', '--dir', dir, ...args];
  const [program, words] = elsewhere ? elsewhere.words(process.execPath, run) : [process.execPath, run];
  const child = spawn(program, [...words], {
    env: agentEnv(elsewhere ? { WARDBEAT_FIREWALL: 'on' } : {}),
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk: Buffer) => (output += chunk.toString()));
  const ended = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  return {
    process: child,
    output: () => output,
    async kill(signal) {
      child.kill(signal);
      await ended;
    },
  };
}

/** Enrolls a new agent in `dir` with a token file and answers its computer id. */
export async function enrollAgent(
  dir: string,
  options: { manager: string; token: string; name: string; more?: readonly string[] },
): Promise<string> {
  const tokenFile = join(dir, '..', `token-${options.name}`);
  writeFileSync(tokenFile, options.token, { mode: 0o600 });
  const args = [
    'enroll',
    '--manager',
    options.manager,
    '--token-file',
    tokenFile,
    '--dir',
    dir,
    '--name',
    options.name,
    '--json',
    ...(options.more ?? []),
  ];
  const answer = await runAgentCli(args);
  if (answer.code !== 0) throw new Error(`enroll ended with ${answer.code}: ${answer.stderr}`);
  return (JSON.parse(answer.stdout) as { computerId: string }).computerId;
}

function agentEnv(env: Readonly<Record<string, string>>): NodeJS.ProcessEnv {
  const clean = Object.entries(process.env).filter(([name]) => !name.startsWith('WARDBEAT_'));
  // The machine that runs the tests is not theirs to shut.
  return { ...Object.fromEntries(clean), WARDBEAT_FIREWALL: 'off', ...env };
}
