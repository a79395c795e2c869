import { schedule, type ScheduledTask } from 'node-cron';
import type { Log } from '../../lib/log.js';
import type { CronPort } from './job.js';

export interface NodeCronDeps {
  readonly log: Log;
  /** The wall clock that node-cron reads itself too. */
  readonly wall: () => number;
}

/** Named node-cron tasks whose own messages go to our log. */
export function createNodeCronPort({ log, wall }: NodeCronDeps): CronPort {
  const quiet = {
    info: (message: string) => log.debug(message),
    warn: (message: string) => log.debug(message),
    debug: (message: string | Error) => log.debug(String(message)),
    error: (message: string | Error, err?: Error) => log.error({ err: err ?? message }, 'a schedule failed'),
  };
  return ({ name, cron }, fire) => {
    const task = schedule(cron, fire, {
      name,
      noOverlap: true,
      timezone: 'UTC',
      suppressMissedWarning: true,
      logger: quiet,
    });
    leapOverMissed(task, wall);
    return {
      nextRunAt: () => task.getNextRun()?.getTime() ?? null,
      stop: () => void task.destroy(),
    };
  };
}

/** Slots that are missed by more are not gone through one by one. */
const LEAP_MS = 5000;

interface Matcher {
  getNextMatch(from: Date): Date;
}

/**
 * node-cron 4.6.0 counts every slot between the one it planned and now: a wall clock set forward by a day holds the
 * event loop for ten seconds and more. Behind the present it is told the next slot of the present instead.
 */
function leapOverMissed(task: ScheduledTask, wall: () => number): void {
  const { timeMatcher } = task as ScheduledTask & { readonly timeMatcher?: Matcher };
  if (typeof timeMatcher?.getNextMatch !== 'function') throw new Error('node-cron has another inside than 4.6.0');
  const nextAfter = timeMatcher.getNextMatch.bind(timeMatcher);
  timeMatcher.getNextMatch = (from) => {
    const next = nextAfter(from);
    const now = wall();
    return next.getTime() < now - LEAP_MS ? nextAfter(new Date(now)) : next;
  };
}
