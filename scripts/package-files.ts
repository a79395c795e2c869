import { existsSync, readFileSync, statSync, readdirSync } from 'node:fs';
import { dirname, join, normalize, relative } from 'node:path';

/** What stands after `from` or `import` at the head of a compiled module. */
const IMPORT = /^(?:import|export)\s(?:[^;'"]*?\sfrom\s)?['"]([^'"]+)['"]/gms;
/** A module of our own that is loaded when it is needed. */
const LATER = /\bimport\(['"](\.[^'"]+)['"]\)/g;

export interface ModuleGraph {
  /** Paths below `root`, in order. */
  readonly files: readonly string[];
  /** Packages that the files import. */
  readonly packages: readonly string[];
}

/** The compiled modules that `entry` loads, itself included, and the packages they name. */
export function moduleGraph(root: string, entry: string): ModuleGraph {
  const files = new Set<string>();
  const packages = new Set<string>();
  const open = [entry];
  for (let file = open.pop(); file !== undefined; file = open.pop()) {
    if (files.has(file)) continue;
    files.add(file);
    const source = readFileSync(join(root, file), 'utf8');
    if (/\bimport\(|\brequire\(/.test(source.replaceAll(LATER, '')))
      throw new Error(`${file} imports at run time: its package is unknown`);
    for (const [, name = ''] of [...source.matchAll(IMPORT), ...source.matchAll(LATER)]) {
      if (name.startsWith('.')) open.push(normalize(join(dirname(file), name)));
      else if (!name.startsWith('node:')) packages.add(packageOf(name));
    }
  }
  return { files: [...files].sort(), packages: [...packages].sort() };
}

function packageOf(specifier: string): string {
  return specifier
    .split('/')
    .slice(0, specifier.startsWith('@') ? 2 : 1)
    .join('/');
}

export type PackageManifest = Readonly<Record<string, unknown>> & {
  readonly version: string;
  readonly dependencies?: Readonly<Record<string, string>>;
};

export function readManifest(folder: string): PackageManifest {
  return JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8')) as PackageManifest;
}

/** The installed folders (`node_modules/…`) of the packages and of all that they depend on, in order. */
export function dependencyFolders(root: string, packages: readonly string[]): string[] {
  const found = new Set<string>();
  const visit = (name: string, from: string): void => {
    const folder = resolveFolder(root, name, from);
    if (found.has(folder)) return;
    found.add(folder);
    for (const dependency of Object.keys(readManifest(join(root, folder)).dependencies ?? {}))
      visit(dependency, folder);
  };
  for (const name of packages) visit(name, '.');
  return [...found].sort();
}

/** As Node looks for it: beside the asking package, then further out. */
function resolveFolder(root: string, name: string, from: string): string {
  for (let place = from; ; place = dirname(place)) {
    const folder = join(place, 'node_modules', name);
    if (existsSync(join(root, folder, 'package.json'))) return folder;
    if (place === '.') throw new Error(`${name} is not installed`);
  }
}

const NOT_RUN =
  /^(?:node_modules|test|tests|docs|bench|benchmarks?|examples?|deps|build|scripts|\.github|prebuilds\/(?!linux-).*)$/;
const RUN = /\.(?:js|cjs|mjs|json|node)$/;
const TOOLING = /^(?:tsconfig|eslint|bench|package\.json$)/;
const LICENCE = /^(?:licen[cs]e|copying|notice)/i;

/** The files of a package that a program loads on Linux, and its licence; paths below `folder`, in order. */
export function runtimeFiles(folder: string): string[] {
  const walk = (inner: string): string[] =>
    readdirSync(join(folder, inner)).flatMap((name) => {
      const path = join(inner, name);
      if (statSync(join(folder, path)).isDirectory()) return NOT_RUN.test(path) ? [] : walk(path);
      return LICENCE.test(name) || (RUN.test(name) && !TOOLING.test(name)) ? [path] : [];
    });
  return walk('.')
    .map((path) => relative('.', path))
    .sort();
}
