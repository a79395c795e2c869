import { readdirSync, readFileSync } from 'node:fs';

/** One line of `/proc/<pid>/stat`, proc(5); CPU times in milliseconds. */
export interface ProcessTimes {
  readonly pid: number;
  readonly parent: number;
  /** User and system time of the process, all threads, those that ended too. */
  readonly ownMs: number;
  /** The same of its children that ended and were waited for. */
  readonly endedChildrenMs: number;
}

/** CPU milliseconds since the start of each process. */
export interface CpuReading {
  readonly manager: number;
  readonly database: number;
}

/** USER_HZ of Linux on every architecture that Node runs on. */
const MS_PER_TICK = 10;

export function parseProcessStat(text: string): ProcessTimes {
  // The name is in brackets and may hold brackets and blanks itself.
  const end = text.lastIndexOf(')');
  const fields = text.slice(end + 2).split(' ');
  const ticks = (index: number): number => Number(fields[index]);
  return {
    pid: Number.parseInt(text, 10),
    parent: ticks(1),
    ownMs: (ticks(11) + ticks(12)) * MS_PER_TICK,
    endedChildrenMs: (ticks(13) + ticks(14)) * MS_PER_TICK,
  };
}

/** What one process used. */
export function readProcessMs(pid: number): number {
  return parseProcessStat(readFileSync(`/proc/${pid}/stat`, 'latin1')).ownMs;
}

/** Resident memory of one process, KiB (`VmRSS` of proc(5)). */
export function readProcessKib(pid: number): number {
  return Number(/^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'latin1'))?.[1] ?? 0);
}

/**
 * What a manager and everything below it used: its descendants are its embedded PostgreSQL, postmaster, back ends and
 * background processes; back ends that ended are in the postmaster's sum.
 */
export function readManagerCpu(managerPid: number): CpuReading {
  return cpuOf(managerPid, listProcesses());
}

export function cpuOf(managerPid: number, processes: readonly ProcessTimes[]): CpuReading {
  const manager = processes.find(({ pid }) => pid === managerPid)?.ownMs ?? 0;
  const below = descendantsOf(managerPid, processes);
  const database = below.reduce((sum, { ownMs, endedChildrenMs }) => sum + ownMs + endedChildrenMs, 0);
  return { manager, database };
}

function descendantsOf(ancestor: number, processes: readonly ProcessTimes[]): ProcessTimes[] {
  const children = processes.filter(({ parent }) => parent === ancestor);
  return children.flatMap((child) => [child, ...descendantsOf(child.pid, processes)]);
}

function listProcesses(): ProcessTimes[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .flatMap((pid) => {
      try {
        return [parseProcessStat(readFileSync(`/proc/${pid}/stat`, 'latin1'))];
      } catch {
        // It ended since the folder was read.
        return [];
      }
    });
}

export function cpuBetween(before: CpuReading, after: CpuReading): CpuReading {
  return { manager: after.manager - before.manager, database: after.database - before.database };
}
