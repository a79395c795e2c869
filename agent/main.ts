#!/usr/bin/env node
import { createSystemClock } from '../lib/clock.js';
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
});
