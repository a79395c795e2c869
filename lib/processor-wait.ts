import { readFileSync } from 'node:fs';

/** What the scheduler did with this process's main thread since it began, in milliseconds. */
export interface ProcessorTime {
  readonly ranMs: number;
  /** Able to run, while others had the processors. */
  readonly waitedMs: number;
}

export type ReadProcessorTime = () => ProcessorTime | undefined;

const NANOSECONDS = 1_000_000;
/** Below this share of the time that has passed, waiting is noise. */
const NOISE_SHARE = 0.1;
const LONGEST_STRETCH = 3;

/**
 * From /proc/self/schedstat (Linux, Documentation/scheduler/sched-stats.rst: time on the processor, time on the run queue,
 * in nanoseconds); undefined where there is none.
 */
export function readProcessorTime(): ProcessorTime | undefined {
  try {
    return parseSchedstat(readFileSync('/proc/self/schedstat', 'latin1'));
  } catch {
    return undefined;
  }
}

export function parseSchedstat(text: string): ProcessorTime | undefined {
  const [ran = Number.NaN, waited = Number.NaN] = text.trim().split(' ').map(Number);
  if (!Number.isFinite(ran) || !Number.isFinite(waited)) return undefined;
  return { ranMs: ran / NANOSECONDS, waitedMs: waited / NANOSECONDS };
}

/**
 * How many times longer than on a free processor our own work took meanwhile: from 1 to 3. Who waits for an answer on a
 * starved machine is as slow to read it, and often the answering side is starved with it; so patience is stretched by as
 * much (Dadgar, Phillips, Currey: Lifeguard, 2018: "local health aware probe").
 */
export function stretchOf(begin: ProcessorTime, end: ProcessorTime, elapsedMs: number): number {
  const ran = end.ranMs - begin.ranMs;
  const waited = end.waitedMs - begin.waitedMs;
  if (waited < elapsedMs * NOISE_SHARE) return 1;
  return Math.min(LONGEST_STRETCH, (ran + waited) / Math.max(ran, Number.MIN_VALUE));
}

/** A limit from now on that stretches with our own wait for a processor; answers how many milliseconds of it are left. */
export type BeginLimit = (limitMs: number) => () => number;

export function createPatience(monotonic: () => number, read: ReadProcessorTime = readProcessorTime): BeginLimit {
  return (limitMs) => {
    const begunAt = monotonic();
    const begin = read();
    return () => {
      const elapsedMs = monotonic() - begunAt;
      const end = begin && read();
      return limitMs * (begin && end ? stretchOf(begin, end, elapsedMs) : 1) - elapsedMs;
    };
  };
}
