import type { CronPort } from '../../server/scheduler/job.js';
import type { SimulatedProcess } from './simulated-machine.js';
import type { Appointment } from './timeline.js';

/**
 * Fires by the wall clock of its machine, every `everyMs` instead of by the expression; like node-cron it does not fire
 * until a clock that was set back has caught up. Jobs without a period never fire.
 */
export function createSimulatedCron(process: SimulatedProcess, periods: Readonly<Record<string, number>>): CronPort {
  const { machine } = process;
  return ({ name }, fire) => {
    const everyMs = periods[name];
    if (everyMs === undefined) return { nextRunAt: () => null, stop: () => undefined };
    let planned = 0;
    let next: Appointment | undefined;
    const plan = (): void => {
      planned = (Math.floor(machine.wall() / everyMs) + 1) * everyMs;
      next = machine.timeline.after(planned - machine.wall(), () => process.deliver(due));
    };
    const due = (): void => {
      if (machine.wall() < planned) {
        next = machine.timeline.after(Math.min(everyMs, planned - machine.wall()), () => process.deliver(due));
        return;
      }
      plan();
      fire();
    };
    plan();
    return { nextRunAt: () => planned, stop: () => next?.cancel() };
  };
}
