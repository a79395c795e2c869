import { resolve } from 'node:path';

import type { ReadFlags } from '../arguments.js';
import { DEFAULT_SERVICE_DIRECTORY, DEFAULT_SERVICE_USER } from './unit-file.js';

export interface InstallCommand {
  readonly command: 'install';
  readonly directory: string;
  readonly user: string;
  readonly root: string | undefined;
  readonly print: boolean;
}

export interface UninstallCommand {
  readonly command: 'uninstall';
  readonly root: string | undefined;
  readonly purge: boolean;
}

interface ServiceParsing {
  readonly flags: ReadFlags;
  /** Faults are added to it. */
  readonly faults: string[];
}

export const INSTALL_FLAGS = { values: ['user', 'root'], switches: ['print'] } as const;
export const UNINSTALL_FLAGS = { values: ['root'], switches: ['purge'] } as const;

export function parseInstall({ flags: { values, switches }, faults }: ServiceParsing): InstallCommand {
  return {
    command: 'install',
    directory: resolve(values.get('dir') ?? DEFAULT_SERVICE_DIRECTORY),
    user: values.get('user') ?? DEFAULT_SERVICE_USER,
    root: parseRoot(values, faults),
    print: switches.has('print'),
  };
}

export function parseUninstall({ flags: { values, switches }, faults }: ServiceParsing): UninstallCommand {
  if (values.has('dir')) faults.push('uninstall takes no --dir: the installed unit says where the data are');
  return { command: 'uninstall', root: parseRoot(values, faults), purge: switches.has('purge') };
}

/** The root of this very system is meant by leaving it out. */
function parseRoot(values: ReadonlyMap<string, string>, faults: string[]): string | undefined {
  const given = values.get('root');
  if (given === undefined) return undefined;
  const root = resolve(given);
  if (given === '' || root === '/') faults.push('--root must name a folder other than /');
  return root;
}
