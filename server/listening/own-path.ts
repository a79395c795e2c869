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
}

/** What a report goes through in this process. */
export interface OwnPath {
  /** Null where all of it works, else what does not. Never rejects. */
  check(): Promise<string | null>;
}

const TIMEOUT_MS = 5000;
/** The boot clock, the monotonic one and the other thread's may part by this during one look. */
const CLOCKS_PART_MS = 1000;

export function createOwnPath({ dialler, port, sql, clock }: OwnPathDeps): OwnPath {
  const checkPort = async (): Promise<string | null> => {
    const target = port();
    if (!target) return null;
    const begunAt = clock.monotonic();
    const { fault, tookMs } = await dialler.dial(target, TIMEOUT_MS);
    if (fault !== null) return `agent port: ${fault}`;
    const partMs = clock.monotonic() - begunAt - tookMs;
    return partMs > CLOCKS_PART_MS ? `event loop: ${Math.round(partMs)} ms behind` : null;
  };

  const checkDatabase = async (): Promise<string | null> => {
    const over = new AbortController();
    const late = clock.sleep(TIMEOUT_MS, over.signal).then(
      () => 'database: no answer',
      () => null,
    );
    const asked = sql.query('SELECT 1 AS one').then(
      () => null,
      () => 'database: failed',
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
      const faults = await Promise.all([checkPort(), checkDatabase()]);
      const partMs = Math.abs(clock.boot() - bootMs - (clock.monotonic() - monotonicMs));
      const clocks = partMs > CLOCKS_PART_MS ? `clock: the boot clock parted by ${Math.round(partMs)} ms` : null;
      return [...faults, clocks].find((fault) => fault !== null) ?? null;
    },
  };
}
