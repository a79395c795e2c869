import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';

export interface WardbeatAnswer {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

const BIN = 'dist/server/main.js';
export const SCRIPT = '/usr/bin/script';

/** Runs `wardbeat WORDS` as a real process to its end; its output is no terminal. */
export function runWardbeat(words: readonly string[], env: Readonly<Record<string, string>>): Promise<WardbeatAnswer> {
  return run(process.execPath, [BIN, ...words], env);
}

/** The same on a terminal, which script(1) of util-linux makes. */
export function runOnTerminal(
  words: readonly string[],
  env: Readonly<Record<string, string>>,
): Promise<WardbeatAnswer> {
  const command = [process.execPath, BIN, ...words].map((word) => `'${word}'`).join(' ');
  return run(SCRIPT, ['-qec', command, '/dev/null'], env);
}

export function canMakeTerminals(): boolean {
  return existsSync(SCRIPT);
}

function run(command: string, args: readonly string[], env: Readonly<Record<string, string>>): Promise<WardbeatAnswer> {
  const clean = Object.entries(process.env).filter(([name]) => !/^(WARDBEAT_|DATABASE_)/.test(name));
  const child = spawn(command, [...args], {
    env: { ...Object.fromEntries(clean), ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let [stdout, stderr] = ['', ''];
  child.stdout.on('data', (chunk: Buffer) => (stdout += chunk.toString()));
  child.stderr.on('data', (chunk: Buffer) => (stderr += chunk.toString()));
  return new Promise((resolve) => child.once('close', (code) => resolve({ code, stdout, stderr })));
}
