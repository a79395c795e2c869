import { readFileSync, writeFileSync } from 'node:fs';
import { pathToFileURL } from 'node:url';
import { describeApi } from '../server/describe-routes.js';

/** A file in the repository that is made from the code; `--check` fails when the two differ. */
interface GeneratedFile {
  readonly path: string;
  readonly content: () => string | Promise<string>;
}

const GENERATED: readonly GeneratedFile[] = [
  { path: 'lib/version.ts', content: versionModule },
  { path: 'docs/openapi.json', content: () => `${JSON.stringify(describeApi(), null, 2)}\n` },
];

/** The version stands in package.json; the code does not read that file when it runs. */
function versionModule(): string {
  const { version } = JSON.parse(readFileSync('package.json', 'utf8')) as { version: string };
  return `/** Generated from package.json by \`npm run generate\`. */\nexport const VERSION = '${version}';\n`;
}

async function main(argv: readonly string[]): Promise<number> {
  const onlyCheck = argv.includes('--check');
  let stale = 0;
  for (const file of GENERATED) {
    const content = await file.content();
    if (readIfPresent(file.path) === content) continue;
    if (onlyCheck) console.error(`${file.path} is not current: npm run generate`);
    else writeFileSync(file.path, content);
    stale += 1;
  }
  return onlyCheck && stale > 0 ? 1 : 0;
}

function readIfPresent(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return undefined;
  }
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) process.exitCode = await main(process.argv.slice(2));
