// `npm test`: builds, then runs all tests but the drills, in groups beside each other: most of them wait most of the time.
import { spawn, spawnSync } from 'node:child_process';
import { readdirSync, readFileSync, statfsSync } from 'node:fs';
import { freemem } from 'node:os';

const TESTS = 'dist/test';
const SUITES = /^(unit|contract|integration|e2e)\/.*\.test\.js$/;

/** Groups of about the same duration; the end-to-end ones mostly wait for processes. */
const GROUPS = [
  /^(?!e2e|integration\/(agent|database)\/)/,
  /^(e2e\/[a-c]|integration\/database\/)/,
  /^(e2e\/[d-l]|integration\/agent\/)/,
  /./,
];
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
const [first, ...others] = groups.map((group, index) => run(group, { isLive: index === 0 }));
const results = [await first];
for (const other of others) {
  const result = await other;
  process.stdout.write(result.output);
  results.push(result);
}
// What failed or was skipped in any group is named once more at the end, where one looks first.
for (const { output } of results) for (const [line] of output.matchAll(/^(failed|skipped): .*$/gm)) console.log(line);
const counts = results.map(({ output }) => (SUMMARY.exec(output) ?? [0, 0, 1, 0]).slice(1).map(Number));
const [passed, failed, skipped] = [0, 1, 2].map((at) => counts.reduce((sum, count) => sum + count[at], 0));
console.log(`\n${passed} passed, ${failed} failed, ${skipped} skipped`);
process.exitCode = results.every(({ code }) => code === 0) ? 0 : 1;
