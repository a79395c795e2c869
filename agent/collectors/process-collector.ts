import { readdir, readFile } from 'node:fs/promises';

import type { Collector } from './collector.js';
import { parseProcessStat } from './proc-format.js';

export interface RunningProcess {
  readonly comm: string;
  /** Arguments joined by spaces; empty for kernel threads. */
  readonly commandLine: string;
}

const CONCURRENT_READS = 16;
const LONGEST_COMM = 15;
const DEAD_STATES = new Set(['Z', 'X', 'x']);

/** Every living process but this one. */
export function createProcessCollector(): Collector<readonly RunningProcess[]> {
  return {
    name: 'processes',
    async collect(signal) {
      const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name) && Number(name) !== process.pid);
      const found: RunningProcess[] = [];
      const work = async (): Promise<void> => {
        for (let pid = pids.pop(); pid !== undefined; pid = pids.pop()) {
          signal.throwIfAborted();
          const running = await readProcess(pid);
          if (running) found.push(running);
        }
      };
      await Promise.all(Array.from({ length: CONCURRENT_READS }, work));
      return found;
    },
  };
}

async function readProcess(pid: string): Promise<RunningProcess | undefined> {
  try {
    const line = parseProcessStat(await readFile(`/proc/${pid}/stat`, 'utf8'));
    if (!line || DEAD_STATES.has(line.state)) return undefined;
    const commandLine = (await readFile(`/proc/${pid}/cmdline`, 'utf8')).replaceAll('\0', ' ').trim();
    return { comm: line.comm, commandLine };
  } catch {
    // It ended meanwhile.
    return undefined;
  }
}

/**
 * `match` names a process: its command name, or a part of its command line. The kernel keeps 15 characters of a command
 * name, so a longer match is compared with those only where there is no command line to look into.
 */
export function matchesProcess(match: string, { comm, commandLine }: RunningProcess): boolean {
  if (comm === match || commandLine.includes(match)) return true;
  return match.length > LONGEST_COMM && commandLine === '' && comm === match.slice(0, LONGEST_COMM);
}
