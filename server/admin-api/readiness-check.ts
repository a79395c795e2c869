import type { Clock } from '../../lib/clock.js';

/** One thing that must hold before the manager is ready. */
export interface ReadinessCheck {
  readonly name: string;
  /** Null when it holds, otherwise why not. A rejection counts as not ready. */
  check(): Promise<string | null>;
}

const CHECK_TIMEOUT_MS = 2_000;

/** Asks one; an answer that is late is one too. Never rejects. */
export async function askCheck({ check }: ReadinessCheck, clock: Pick<Clock, 'sleep'>): Promise<string | null> {
  const done = new AbortController();
  const late = clock.sleep(CHECK_TIMEOUT_MS, done.signal).then(
    () => `no answer within ${CHECK_TIMEOUT_MS} ms`,
    () => null,
  );
  try {
    return await Promise.race([check(), late]);
  } catch {
    return 'failed';
  } finally {
    done.abort();
  }
}
