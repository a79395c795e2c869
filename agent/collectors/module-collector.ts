import { readdir, readFile } from 'node:fs/promises';
import { release } from 'node:os';

import type { Collector } from './collector.js';
import { normalModuleName, parseBuiltInModules, parseLoadedModules } from './module-rules.js';

/** The kernel's modules by their normal names. */
export interface KernelModules {
  /** State of each loaded module: Live, Loading, Unloading. */
  readonly loaded: ReadonlyMap<string, string>;
  readonly builtIn: ReadonlySet<string>;
  /** Why a module that is in neither may be there all the same. */
  readonly incomplete: string | undefined;
}

export interface ModulePaths {
  /** Lists the loadable modules in use. */
  readonly modules: string;
  /** Has a folder for each loaded module and for built-in ones with parameters. */
  readonly folder: string;
  /** Lists the built-in modules. */
  readonly builtIn: string;
}

export function systemModulePaths(): ModulePaths {
  return {
    modules: '/proc/modules',
    folder: '/sys/module',
    builtIn: `/lib/modules/${release()}/modules.builtin`,
  };
}

/** No path is ever made of a name that a policy gave. */
export function createModuleCollector(paths: ModulePaths = systemModulePaths()): Collector<KernelModules> {
  return {
    name: 'kernelModules',
    async collect(signal) {
      // The list first: a module that is loaded meanwhile then reads as built in instead of absent.
      const list = await unlessAbsent(readFile(paths.modules, { encoding: 'utf8', signal }));
      const [folders, builtIn] = await Promise.all([
        unlessAbsent(readdir(paths.folder)),
        unlessAbsent(readFile(paths.builtIn, { encoding: 'utf8', signal })),
      ]);
      if (list.found === undefined && folders.found === undefined) throw new Error('modules cannot be listed here');
      const loaded = parseLoadedModules(list.found ?? '');
      const others = (folders.found ?? []).map(normalModuleName).filter((name) => !loaded.has(name));
      return {
        loaded,
        builtIn: new Set([...others, ...parseBuiltInModules(builtIn.found ?? '')]),
        incomplete: builtIn.refused ?? folders.refused ?? list.refused,
      };
    },
  };
}

interface Found<T> {
  readonly found?: T;
  /** There, but not for us to read. */
  readonly refused?: string;
}

async function unlessAbsent<T>(reading: Promise<T>): Promise<Found<T>> {
  try {
    return { found: await reading };
  } catch (error) {
    const { code, path, message } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT') return {};
    if (code === 'EACCES' || code === 'EPERM') return { refused: `${path ?? 'a list of modules'} cannot be read` };
    throw new Error(message, { cause: error });
  }
}
