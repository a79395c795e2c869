// `npm test`: builds, then runs all tests but the drills, in groups, some of them beside each other.
import { spawn, spawnSync } from 'node:child_process';
import { readdirSync, readFileSync, statfsSync } from 'node:fs';
import { availableParallelism, freemem } from 'node:os';

const TESTS = 'dist/test';
const SUITES = /^(unit|contract|integration|e2e)\/.*\.test\.js$/;

/**
 * In the order in which they start: what fails fastest first, then the longest. Each is a process with one database, so
 * that many small ones would cost more than they even out.
 */
const GROUPS = [
  /^(unit|contract)\//,
  /^e2e\/[s-z]/,
  /^integration\/agent\/[d-z]/,
  /^integration\/(dials|agent-channel|channels|listening)\//,
  /^e2e\/[m-r]/,
  /^e2e\/c/,
  /^(e2e\/[ab]|integration\/database\/)/,
  /^integration\/(?!agent\/)[a-m]/,
  /^e2e\//,
  /^integration\/(?!agent\/)/,
  /./,
];
/** So many at once: most of them wait most of the time. */
const LANES = availableParallelism() + 3;
const groupOf = (file) => GROUPS.findIndex((group) => group.test(file));
const SUMMARY = /^(\d+) passed, (\d+) failed, (\d+) skipped$/m;

const MEMORY_FOLDER = '/dev/shm';
const ENOUGH_BYTES = 6 * 1024 ** 3;

/**
 * Some forty databases and their agents sync every commit, which is a third of the whole duration on a disk. No test here
 * takes the power away (drills do): where memory is plenty, and programs may run there, temporary files lie in it.
 */
function temporaryFolder() {
  if (process.env.TMPDIR) return {};
  try {
    const { bavail, bsize } = statfsSync(MEMORY_FOLDER);
    const mounts = readFileSync('/proc/mounts', 'utf8')
      .split('\n')
      .map((line) => line.split(' '));
    const [, , type, options = ''] = mounts.findLast(([, folder]) => folder === MEMORY_FOLDER) ?? [];
    const isFit = type === 'tmpfs' && !options.split(',').includes('noexec');
    return isFit && Math.min(bavail * bsize, freemem()) >= ENOUGH_BYTES ? { TMPDIR: MEMORY_FOLDER } : {};
  } catch {
    return {};
  }
}

const temporary = temporaryFolder();

/** Runs a group; its output is shown at once, or whole at its end. */
function run(files, { isLive }) {
  const specs = files.map((file) => `${TESTS}/${file}`);
  const reporter = ['--reporter', 'dist/test/support/summary-reporter.js'];
  const args = ['--enable-source-maps', 'node_modules/mocha/bin/mocha.js', ...reporter, ...specs];
  const colour = process.stdout.isTTY ? { FORCE_COLOR: '1' } : {};
  const child = spawn(process.execPath, args, {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, ...temporary, ...colour },
  });
  let output = '';
  for (const stream of [child.stdout, child.stderr])
    stream.on('data', (chunk) => {
      output += chunk;
      if (isLive) process.stdout.write(chunk);
    });
  return new Promise((resolve) => child.once('close', (code) => resolve({ code, output })));
}

const build = spawnSync('node_modules/.bin/tsc', ['-p', 'tsconfig.json'], { stdio: 'inherit' });
if (build.status !== 0) process.exit(1);
const files = readdirSync(TESTS, { recursive: true }).filter((file) => SUITES.test(file));
const groups = GROUPS.map((_, group) => files.filter((file) => groupOf(file) === group).sort());
const waiting = groups.map((files, index) => ({ files, index }));
const results = groups.map(() => undefined);
let shown = 0;

/** Each group takes the place of one that ended; what they print is shown in the order of the groups. */
async function runLane() {
  for (let next = waiting.shift(); next; next = waiting.shift()) {
    results[next.index] = await run(next.files, { isLive: next.index === 0 });
    for (; results[shown]; shown += 1) if (shown > 0) process.stdout.write(results[shown].output);
  }
}
await Promise.all(Array.from({ length: LANES }, runLane));
// What failed or was skipped in any group is named once more at the end, where one looks first.
for (const { output } of results) for (const [line] of output.matchAll(/^(failed|skipped): .*$/gm)) console.log(line);
const counts = results.map(({ output }) => (SUMMARY.exec(output) ?? [0, 0, 1, 0]).slice(1).map(Number));
const [passed, failed, skipped] = [0, 1, 2].map((at) => counts.reduce((sum, count) => sum + count[at], 0));
console.log(`\n${passed} passed, ${failed} failed, ${skipped} skipped`);
process.exitCode = results.every(({ code }) => code === 0) ? 0 : 1;
