// `npm run check`: every step is a sentence; all of them run, the first failure decides the exit code.
import { spawnSync } from 'node:child_process';

const STEPS = [
  ['Files are formatted', 'prettier', ['--check', '--log-level', 'warn', '.']],
  ['Lint rules hold', 'oxlint', ['--deny-warnings']],
  ['Types are right', 'tsc', ['-p', 'tsconfig.json']],
  ['Generated files are current', 'node', ['dist/scripts/generate.js', '--check']],
  [
    'Unit and contract tests pass',
    'mocha',
    ['--reporter', 'dot', 'dist/test/unit/**/*.test.js', 'dist/test/contract/**/*.test.js'],
  ],
];

let failed = false;
for (const [sentence, command, args] of STEPS) {
  const path = command === 'node' ? process.execPath : `node_modules/.bin/${command}`;
  const { status } = spawnSync(path, args, { stdio: 'inherit' });
  console.log(`${status === 0 ? 'ok  ' : 'FAIL'} ${sentence}`);
  failed ||= status !== 0;
}
process.exit(failed ? 1 : 0);
