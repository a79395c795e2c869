import { ExpectedFailure } from '../../../lib/expected-failure.js';
import type { Clock } from '../../../lib/clock.js';
import type { Log } from '../../../lib/log.js';
import { findPostgresProcesses } from './process-table.js';

const POLL_MS = 20;
const STEPS: readonly { readonly signal: NodeJS.Signals; readonly afterMs: number }[] = [
  { signal: 'SIGINT', afterMs: 2_000 },
  { signal: 'SIGQUIT', afterMs: 60_000 },
  { signal: 'SIGKILL', afterMs: 70_000 },
];
const GIVE_UP_MS = 80_000;

/**
 * Waits for PostgreSQL processes of a manager that was killed: the kernel has told them to end, and writing the last
 * checkpoint takes a moment. One that was not told (its parent died before it could ask) is told now. The caller owns
 * the folder, so none of them belongs to a living manager.
 */
export async function endOrphans(
  concerns: (argument: string) => boolean,
  { clock, log }: { readonly clock: Clock; readonly log: Log },
): Promise<void> {
  const begun = clock.monotonic();
  const steps = [...STEPS];
  for (let pids = findPostgresProcesses(concerns); pids.length > 0; pids = findPostgresProcesses(concerns)) {
    const waitedMs = clock.monotonic() - begun;
    if (waitedMs > GIVE_UP_MS)
      throw new ExpectedFailure(`PostgreSQL processes ${pids.join(', ')} of an earlier run do not end`);
    const step = steps[0];
    if (step && waitedMs >= step.afterMs) {
      log.warn({ pids, signal: step.signal }, 'ending PostgreSQL processes of an earlier run');
      for (const pid of pids) signalProcess(pid, step.signal);
      steps.shift();
    }
    await clock.sleep(POLL_MS);
  }
}

function signalProcess(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch {
    // It ended by itself in between.
  }
}
