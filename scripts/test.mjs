// `npm test`: builds, then unit, contract, integration and short end-to-end tests in one run.
import { spawnSync } from 'node:child_process';

const SUITES = ['unit', 'contract', 'integration', 'e2e'].map((name) => `dist/test/${name}/**/*.test.js`);

const build = spawnSync('node_modules/.bin/tsc', ['-p', 'tsconfig.json'], { stdio: 'inherit' });
if (build.status !== 0) process.exit(1);
const mocha = spawnSync(
  process.execPath,
  [
    '--enable-source-maps',
    'node_modules/mocha/bin/mocha.js',
    '--reporter',
    'dist/test/support/summary-reporter.js',
    ...SUITES,
  ],
  { stdio: 'inherit' },
);
process.exit(mocha.status ?? 1);
