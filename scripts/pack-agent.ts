import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { chmodSync, copyFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { dependencyFolders, moduleGraph, readManifest, runtimeFiles, type PackageManifest } from './package-files.js';

const NAME = 'wardbeat-agent';
const COMPILED = 'dist';
const ENTRY = 'agent/main.js';
const OWN_FOLDERS = /^(?:agent|certs|lib|policies|protocol)\//;
const DOCUMENTS = { 'docs/install-agent.md': 'README.md' };

/** Of a bundled package's manifest only what loading it needs: no script of it ever runs at an installation. */
const KEPT_FIELDS = ['name', 'version', 'license', 'author', 'repository', 'type', 'main', 'exports', 'imports'];

export interface AgentArchive {
  readonly file: string;
  readonly bytes: number;
  readonly sha256: string;
}

/** Packs the compiled agent with its runtime dependencies into `outputFolder`; needs neither network nor registry. */
export function packAgent(outputFolder: string): AgentArchive {
  const stage = mkdtempSync(join(tmpdir(), 'wardbeat-pack-'));
  try {
    const version = stagePackage(join(stage, 'package'));
    const file = join(resolve(outputFolder), `${NAME}-${version}.tgz`);
    npmPack(stage, dirname(file));
    const content = readFileSync(file);
    return { file, bytes: content.length, sha256: createHash('sha256').update(content).digest('hex') };
  } finally {
    rmSync(stage, { recursive: true, force: true });
  }
}

function stagePackage(stage: string): string {
  const manifest = readManifest('.');
  const { files, packages } = moduleGraph(COMPILED, ENTRY);
  const foreign = files.filter((file) => !OWN_FOLDERS.test(file));
  if (foreign.length > 0) throw new Error(`The agent loads what is not its own: ${foreign.join(', ')}`);
  for (const file of files) writeStaged(join(stage, file), withoutMap(readFileSync(join(COMPILED, file), 'utf8')));
  chmodSync(join(stage, ENTRY), 0o755);
  for (const [from, to] of Object.entries(DOCUMENTS)) copyStaged(from, join(stage, to));
  for (const folder of dependencyFolders('.', packages)) stageDependency(folder, join(stage, folder));
  writeStaged(join(stage, 'package.json'), toJson(agentManifest(manifest, packages)));
  return manifest.version;
}

function agentManifest(manifest: PackageManifest, packages: readonly string[]): object {
  const missing = packages.filter((name) => !manifest.dependencies?.[name]);
  if (missing.length > 0) throw new Error(`Not among the dependencies of package.json: ${missing.join(', ')}`);
  return {
    name: NAME,
    version: manifest.version,
    description: 'The agent that heartbeats to a Wardbeat manager.',
    license: manifest['license'],
    type: 'module',
    os: ['linux'],
    engines: manifest['engines'],
    bin: { [NAME]: ENTRY },
    dependencies: Object.fromEntries(packages.map((name) => [name, manifest.dependencies?.[name]])),
    bundleDependencies: packages,
  };
}

function stageDependency(folder: string, target: string): void {
  for (const file of runtimeFiles(folder)) copyStaged(join(folder, file), join(target, file));
  const manifest = readManifest(folder);
  const kept = KEPT_FIELDS.filter((field) => field in manifest).map((field) => [field, manifest[field]]);
  writeStaged(
    join(target, 'package.json'),
    toJson({ ...Object.fromEntries(kept), dependencies: manifest.dependencies ?? {} }),
  );
}

function npmPack(stage: string, outputFolder: string): void {
  const flags = [
    '--offline',
    '--ignore-scripts',
    '--loglevel=error',
    '--logs-max=0',
    `--cache=${join(stage, 'cache')}`,
  ];
  const cwd = join(stage, 'package');
  const { status, error } = spawnSync('npm', ['pack', ...flags, `--pack-destination=${outputFolder}`], {
    cwd,
    stdio: ['ignore', 'ignore', 'inherit'],
    env: withoutNpm(process.env),
  });
  if (status !== 0) throw new Error(`npm pack ended with ${status}`, { cause: error });
}

/** What the npm that runs this script was told must not reach the npm that packs. */
function withoutNpm(env: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  return Object.fromEntries(Object.entries(env).filter(([name]) => !/^npm_/i.test(name)));
}

function withoutMap(source: string): string {
  return source.replace(/^\/\/# sourceMappingURL=.*\n?/m, '');
}

function toJson(value: object): string {
  return `${JSON.stringify(value, null, 2)}\n`;
}

/** Modes are set whatever the umask, so that the same input gives the same archive. */
function writeStaged(path: string, content: string): void {
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, content);
  chmodSync(path, 0o644);
}

function copyStaged(from: string, to: string): void {
  mkdirSync(dirname(to), { recursive: true });
  copyFileSync(from, to);
  chmodSync(to, 0o644);
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  const { file, bytes, sha256 } = packAgent(process.argv[2] ?? '.');
  console.log(`${file}\n${bytes} bytes, SHA-256 ${sha256}`);
}
