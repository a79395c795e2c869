import type { Clock } from '../../lib/clock.js';
import { withDeadline } from '../deadline.js';

/** Reads something of this machine; must heed its signal where it can. */
export interface Collector<T> {
  readonly name: string;
  collect(signal: AbortSignal): Promise<T>;
}

export interface CollectorState<T> {
  readonly value: T | undefined;
  readonly error: string | undefined;
}

const COLLECTOR_LIMIT_MS = 1000;

/** How long a collector took, or was waited for. */
export type OnCollected = (name: string, milliseconds: number, isGood: boolean) => void;

export interface BoundedOptions {
  readonly clock: Clock;
  readonly limitMs?: number;
  readonly onCollected?: OnCollected | undefined;
}

/**
 * Runs a collector in bounded time and remembers its last value. One that hangs is not started again before it has
 * ended, so that it costs one pending read, not one per heartbeat.
 */
export function createBoundedCollector<T>(
  collector: Collector<T>,
  { clock, limitMs = COLLECTOR_LIMIT_MS, onCollected }: BoundedOptions,
): { refresh(): Promise<CollectorState<T>> } {
  let value: T | undefined;
  let pending: Promise<unknown> | undefined;
  return {
    async refresh() {
      if (pending) return { value, error: `${collector.name} has not come back yet` };
      const begun = clock.monotonic();
      const tell = (isGood: boolean): void => onCollected?.(collector.name, clock.monotonic() - begun, isGood);
      try {
        value = await withDeadline({ clock, milliseconds: limitMs }, (signal) => {
          const run = Promise.resolve().then(() => collector.collect(signal));
          const finish = (): void => void (pending = undefined);
          pending = run.then(finish, finish);
          return run;
        });
        tell(true);
        return { value, error: undefined };
      } catch (error) {
        tell(false);
        return { value, error: `${collector.name}: ${error instanceof Error ? error.message : String(error)}` };
      }
    },
  };
}
