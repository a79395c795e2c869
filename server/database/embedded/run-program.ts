import { spawn } from 'node:child_process';

/** A program with everything it is given; nothing is inherited from this process. */
export interface Program {
  readonly command: string;
  readonly args: readonly string[];
  readonly env: Readonly<Record<string, string>>;
}

export interface ProgramResult {
  readonly succeeded: boolean;
  /** Both streams, at most the last 16 KiB. */
  readonly output: string;
}

const KEPT_CHARACTERS = 16_384;

/** Runs a program to its end. A program that cannot be started has not succeeded; its output says why. */
export function runProgram(program: Program): Promise<ProgramResult> {
  return new Promise((resolve) => {
    let output = '';
    const keep = (chunk: Buffer) => {
      output = (output + chunk.toString('utf8')).slice(-KEPT_CHARACTERS);
    };
    const child = spawn(program.command, [...program.args], {
      // The folder this process stands in may be closed to the account that the program runs under.
      cwd: '/',
      env: { ...program.env },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    child.stdout.on('data', keep);
    child.stderr.on('data', keep);
    child.once('error', (error) => resolve({ succeeded: false, output: error.message }));
    child.once('close', (code) => resolve({ succeeded: code === 0, output: output.trim() }));
  });
}
