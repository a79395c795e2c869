// `npm test`: builds, then runs unit, contract and integration tests beside the short end-to-end tests, which mostly wait.
import { spawn, spawnSync } from 'node:child_process';

const GROUPS = [['unit', 'contract', 'integration'], ['e2e']];
const SUMMARY = /^(\d+) passed, (\d+) failed, (\d+) skipped$/m;

/** Runs a group; its output is shown at once, or whole at its end. */
function run(suites, { isLive }) {
  const specs = suites.map((name) => `dist/test/${name}/**/*.test.js`);
  const reporter = ['--reporter', 'dist/test/support/summary-reporter.js'];
  const args = ['--enable-source-maps', 'node_modules/mocha/bin/mocha.js', ...reporter, ...specs];
  const colour = process.stdout.isTTY ? { FORCE_COLOR: '1' } : {};
  const child = spawn(process.execPath, args, {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, ...colour },
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
const [first, ...others] = GROUPS.map((suites, index) => run(suites, { isLive: index === 0 }));
const results = [await first];
for (const other of others) {
  const result = await other;
  process.stdout.write(result.output);
  results.push(result);
}
const counts = results.map(({ output }) => (SUMMARY.exec(output) ?? [0, 0, 1, 0]).slice(1).map(Number));
const [passed, failed, skipped] = [0, 1, 2].map((at) => counts.reduce((sum, count) => sum + count[at], 0));
console.log(`\n${passed} passed, ${failed} failed, ${skipped} skipped`);
process.exitCode = results.every(({ code }) => code === 0) ? 0 : 1;
