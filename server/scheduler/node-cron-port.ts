import { schedule } from 'node-cron';
import type { Log } from '../../lib/log.js';
import type { CronPort } from './job.js';

/** Named node-cron tasks whose own messages go to our log. */
export function createNodeCronPort(log: Log): CronPort {
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
    return {
      nextRunAt: () => task.getNextRun()?.getTime() ?? null,
      stop: () => void task.destroy(),
    };
  };
}
