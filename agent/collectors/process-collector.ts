import { readdir, readFile } from 'node:fs/promises';

import type { WatchedComponent } from '../../policies/setting-values.js';
import type { ComponentReport } from '../../protocol/heartbeat-messages.js';
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

/** `match` names a process: its command name (the kernel keeps 15 characters), its program's file name, or a part of its command line. */
export function matchesProcess(match: string, { comm, commandLine }: RunningProcess): boolean {
  return comm === match.slice(0, LONGEST_COMM) || commandLine.includes(match);
}

/** The state of each watched component; `running` undefined means that nobody could look. */
export function watchedStates(
  watched: readonly WatchedComponent[],
  running: readonly RunningProcess[] | undefined,
): ComponentReport[] {
  return watched.map(({ name, kind, match }) => {
    if (kind !== 'process') return { name, kind, state: 'unknown', detail: 'not watched by this version' };
    if (!running) return { name, kind, state: 'unknown', detail: 'the process list cannot be read' };
    const count = running.filter((candidate) => matchesProcess(match, candidate)).length;
    return { name, kind, state: count > 0 ? 'online' : 'offline' };
  });
}
