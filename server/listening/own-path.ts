import { stretchOf, readProcessorTime, type ReadProcessorTime } from '../../lib/processor-wait.js';
import type { PathFinding } from '../../policies/self-suspicion-rules.js';
import type { Sql } from '../database/sql.js';
import type { FleetClock } from '../fleet-clock/fleet-clock.js';
import type { SelfDialTarget } from './self-dial.js';
import type { SelfDialler } from './self-dialler.js';

export interface OwnPathDeps {
  readonly dialler: Pick<SelfDialler, 'dial'>;
  /** Undefined in a process without an agent port. */
  readonly port: () => SelfDialTarget | undefined;
  /** By the connections that reports are stored over. */
  readonly sql: Sql;
  readonly clock: Pick<FleetClock, 'boot' | 'monotonic' | 'sleep'>;
  /** Of this process's main thread; the system's unless given. */
  readonly processorTime?: ReadProcessorTime;
}

/** What a report goes through in this process. */
export interface OwnPath {
  /**
   * Null where all of it works, else what does not; undefined where whoever looked was kept from the processor, which
   * says nothing of the path. Never rejects.
   */
  check(): Promise<PathFinding>;
}

const TIMEOUT_MS = 5000;
/** The boot clock, the monotonic one and the other thread's may part by this during one look. */
const CLOCKS_PART_MS = 1000;
/** From here on what came too late may have come too late for want of a processor: it took half as long again. */
const STARVED_STRETCH = 1.5;

interface Finding {
  readonly fault: string;
  /** It may be for want of a processor. */
  readonly isOfTime: boolean;
  /** Whoever looked did not run meanwhile. */
  readonly isVoid?: boolean;
}

export function createOwnPath(deps: OwnPathDeps): OwnPath {
  const { dialler, port, sql, clock, processorTime = readProcessorTime } = deps;

  const checkPort = async (): Promise<Finding | null> => {
    const target = port();
    if (!target) return null;
    const begunAt = clock.monotonic();
    const { fault, tookMs, isVoid } = await dialler.dial(target, TIMEOUT_MS);
    if (fault !== null) return { fault: `agent port: ${fault}`, isOfTime: fault.endsWith('timeout'), isVoid };
    const partMs = clock.monotonic() - begunAt - tookMs;
    if (partMs <= CLOCKS_PART_MS) return null;
    return { fault: `event loop: ${Math.round(partMs)} ms behind`, isOfTime: true };
  };

  const checkDatabase = async (): Promise<Finding | null> => {
    const over = new AbortController();
    const late = clock.sleep(TIMEOUT_MS, over.signal).then(
      () => ({ fault: 'database: no answer', isOfTime: true }),
      () => null,
    );
    const asked = sql.query('SELECT 1 AS one').then(
      () => null,
      () => ({ fault: 'database: failed', isOfTime: false }),
    );
    try {
      return await Promise.race([asked, late]);
    } finally {
      over.abort();
    }
  };

  return {
    async check() {
      const [bootMs, monotonicMs] = [clock.boot(), clock.monotonic()];
      const begun = processorTime();
      const faults = await Promise.all([checkPort(), checkDatabase()]);
      const elapsedMs = clock.monotonic() - monotonicMs;
      const ended = begun && processorTime();
      const isStarved = begun && ended ? stretchOf(begun, ended, elapsedMs) >= STARVED_STRETCH : false;
      const partMs = Math.abs(clock.boot() - bootMs - elapsedMs);
      const clocks = { fault: `clock: the boot clock parted by ${Math.round(partMs)} ms`, isOfTime: false };
      return verdictOf([...faults, partMs > CLOCKS_PART_MS ? clocks : null], isStarved);
    },
  };
}

/** What is certainly broken counts whatever else could not be told. */
function verdictOf(findings: readonly (Finding | null)[], isStarved: boolean): PathFinding {
  const found = findings.filter((finding) => finding !== null);
  const certain = found.find(({ isOfTime, isVoid = false }) => !isVoid && !(isOfTime && isStarved));
  if (certain) return certain.fault;
  return found.length > 0 ? undefined : null;
}
