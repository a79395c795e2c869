#!/usr/bin/env node
import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';

import { createSystemClock } from '../lib/clock.js';
import { outliveReaders } from '../lib/outlive-readers.js';
import { createSystemRandom } from '../lib/random.js';
import { runCommandLine } from './commands.js';
import { processSurroundings } from './config.js';

const complain = (text: string): void => void process.stderr.write(`${text}\n`);

/** The second request ends the process at once. */
function untilAskedToStop(): Promise<void> {
  return new Promise((resolve) => {
    let asked = false;
    const ask = (): void => {
      if (asked) process.exit(1);
      asked = true;
      resolve();
    };
    process.on('SIGTERM', ask);
    process.on('SIGINT', ask);
  });
}

/** The same program with the same arguments; the directory's lock is free by now. */
function startAnother(): void {
  const args = [...process.execArgv, ...process.argv.slice(1)];
  const child = spawn(process.execPath, args, { stdio: 'inherit', detached: true });
  child.on('error', (error) => complain(`wardbeat-agent: cannot be started again: ${error.message}`));
  child.unref();
}

outliveReaders();
// Overwrites the arguments, so that a token among them stays in the process list for the start of the process only.
const argv = process.argv.slice(2);
if (argv[0] === 'enroll') process.title = 'wardbeat-agent enroll';

process.exitCode = await runCommandLine(argv, {
  clock: createSystemClock(),
  random: createSystemRandom(),
  around: processSurroundings(complain),
  print: (text) => void process.stdout.write(`${text}\n`),
  complain,
  untilAskedToStop,
  startAnother,
  program: { node: process.execPath, script: fileURLToPath(import.meta.url) },
});
