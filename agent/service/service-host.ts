import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { delimiter, join } from 'node:path';

export interface HostAnswer {
  readonly status: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** The machine that a service is installed on, as far as programs of it are asked. */
export interface ServiceHost {
  readonly isRoot: boolean;
  /** systemd is the first process here (sd_booted(3)). */
  readonly isBooted: boolean;
  /** Where its tree begins: empty but in tests. */
  readonly tree: string;
  has(command: string): boolean;
  run(command: string, args: readonly string[]): HostAnswer;
}

const CALL_MS = 120_000;

/** Not on the PATH that `su` leaves root with on some systems. */
const SYSTEM_FOLDERS = ['/usr/local/sbin', '/usr/sbin', '/sbin'];

/** `searchPath`: where programs are looked for before the system's own folders, as PATH has it. */
export function systemHost(searchPath: string): ServiceHost {
  const folders = [...searchPath.split(delimiter).filter((folder) => folder !== ''), ...SYSTEM_FOLDERS];
  const find = (command: string): string | undefined =>
    folders.map((folder) => join(folder, command)).find((path) => existsSync(path));
  return {
    isRoot: process.getuid?.() === 0,
    isBooted: existsSync('/run/systemd/system'),
    tree: '',
    has: (command) => find(command) !== undefined,
    run(command, args) {
      const { status, stdout, stderr, error } = spawnSync(find(command) ?? command, args, {
        encoding: 'utf8',
        timeout: CALL_MS,
      });
      return { status: status ?? 1, stdout: stdout ?? '', stderr: stderr || (error?.message ?? '') };
    },
  };
}
