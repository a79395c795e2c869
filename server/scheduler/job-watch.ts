import type { Clock } from '../../lib/clock.js';
import type { ManagerJournal } from '../events/manager-journal.js';
import type { JobChange } from './job-runner.js';

/** One job is told of at most this often, however it flaps. */
const TELL_EVERY_MS = 60_000;

/** Tells the journal when a job begins to fail and when it runs again. */
export function createJobWatch(deps: {
  readonly journal: Pick<ManagerJournal, 'note'>;
  readonly clock: Pick<Clock, 'monotonic'>;
}): (change: JobChange) => void {
  const toldAt = new Map<string, number>();
  const isToldFailing = new Set<string>();
  return ({ job, error }) => {
    if (error === null) {
      if (!isToldFailing.delete(job)) return;
      deps.journal.note({ kind: 'job-recovered', severity: 'info', message: 'A job runs again.', data: { job } });
      return;
    }
    const now = deps.clock.monotonic();
    if (now - (toldAt.get(job) ?? Number.NEGATIVE_INFINITY) < TELL_EVERY_MS) return;
    toldAt.set(job, now);
    isToldFailing.add(job);
    deps.journal.note({ kind: 'job-failed', severity: 'medium', message: 'A job failed.', data: { job, error } });
  };
}
