import type { Log } from '../../lib/log.js';
import { pingUrl, PingFailure, type PingOptions } from '../../lib/http-ping.js';
import { askCheck, type ReadinessCheck } from '../admin-api/readiness-check.js';
import type { FleetClock, FleetInstant } from '../fleet-clock/fleet-clock.js';
import type { LagWatch } from '../scheduler/lag-watch.js';

/** A ping to somebody else, who misses it when this manager does not work. */
export interface DeadMan {
  /** One look, to be called every `DEAD_MAN_EVERY_MS`; pings when all is well. Never rejects. */
  tick(signal: AbortSignal): Promise<void>;
  state(): DeadManState;
}

export interface DeadManState {
  /** Of the URL, whose rest may be a secret. */
  readonly origin: string;
  readonly lastOkAt: FleetInstant | null;
  /** Why the last ping was not taken; null where it was. */
  readonly lastError: string | null;
  /** Why the last look sent none. */
  readonly withheld: string | null;
  readonly results: Readonly<Record<DeadManResult, number>>;
}

export type DeadManResult = 'ok' | 'failed' | 'withheld';

export interface DeadManDeps {
  readonly url: string;
  /** All must hold. */
  readonly checks: readonly ReadinessCheck[];
  /** Of the verdict job; undefined where another process has it. */
  readonly lag: Pick<LagWatch, 'worstMs'> | undefined;
  readonly clock: Pick<FleetClock, 'fleet' | 'sleep'>;
  readonly log: Pick<Log, 'info' | 'warn'>;
  /** Throws `PingFailure`. */
  readonly ping?: (url: URL, options: PingOptions) => Promise<void>;
}

export const DEAD_MAN_EVERY_MS = 10_000;
const TIMEOUT_MS = 10_000;
/** Verdicts that are looked for so late are as good as none. */
const MOST_LAG_MS = 5000;

export function createDeadMan({ url, checks, lag, clock, log, ping = pingUrl }: DeadManDeps): DeadMan {
  const target = new URL(url);
  const { origin } = target;
  const results = { ok: 0, failed: 0, withheld: 0 };
  let state: Omit<DeadManState, 'results'> = { origin, lastOkAt: null, lastError: null, withheld: null };

  const faultOf = async (): Promise<string | null> => {
    const lagMs = lag?.worstMs(DEAD_MAN_EVERY_MS) ?? 0;
    if (lagMs >= MOST_LAG_MS) return `verdicts: looked for ${Math.round(lagMs)} ms late`;
    const faults = await Promise.all(checks.map(async (check) => [check.name, await askCheck(check, clock)] as const));
    const [name, reason] = faults.find(([, fault]) => fault !== null) ?? [];
    return name === undefined ? null : `${name}: ${reason}`;
  };

  const failed = (error: unknown): void => {
    const lastError = error instanceof PingFailure ? error.message : 'unknown';
    if (state.lastError !== lastError) log.warn({ origin, reason: lastError }, 'the dead-man ping is not taken');
    results.failed += 1;
    state = { ...state, lastError };
  };

  return {
    state: () => ({ ...state, results }),
    async tick(signal) {
      const withheld = await faultOf();
      state = { ...state, withheld };
      if (withheld !== null) {
        results.withheld += 1;
        return;
      }
      try {
        await ping(target, { timeoutMs: TIMEOUT_MS, signal });
      } catch (error) {
        if (!signal.aborted) failed(error);
        return;
      }
      if (state.lastError !== null) log.info({ origin }, 'the dead-man ping is taken again');
      results.ok += 1;
      state = { ...state, lastOkAt: clock.fleet(), lastError: null };
    },
  };
}
