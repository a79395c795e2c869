// `npm run build`: compiles to dist/ and makes dist/bin/wardbeat and dist/bin/wardbeat-agent.
import { spawnSync } from 'node:child_process';
import { chmodSync, mkdirSync, readFileSync, rmSync, symlinkSync } from 'node:fs';
import { relative } from 'node:path';

const { status } = spawnSync('node_modules/.bin/tsc', ['-p', 'tsconfig.json'], { stdio: 'inherit' });
if (status !== 0) process.exit(status ?? 1);
mkdirSync('dist/bin', { recursive: true });
for (const [name, target] of Object.entries(JSON.parse(readFileSync('package.json', 'utf8')).bin)) {
  chmodSync(target, 0o755);
  const link = `dist/bin/${name}`;
  rmSync(link, { force: true });
  symlinkSync(relative('dist/bin', target), link);
}
