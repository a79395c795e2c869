import type { RehearsedAlert } from '../../policies/rehearsal-rules.js';
import type { RehearsedAlertsDto } from './rehearsal-dto.js';

/** Alerts by computer, and how many of them were short. */
export interface AlertTally {
  add(computerId: string, alert: Pick<RehearsedAlert, 'isFlash'>): void;
  of(computerId: string): number;
  /** The computers with the most alerts; of equals the first by id. */
  most(count: number): string[];
  sums(): RehearsedAlertsDto;
}

export function createAlertTally(): AlertTally {
  const byComputer = new Map<string, number>();
  let alerts = 0;
  let flash = 0;
  return {
    add(computerId, { isFlash }) {
      alerts += 1;
      if (isFlash) flash += 1;
      byComputer.set(computerId, (byComputer.get(computerId) ?? 0) + 1);
    },
    of: (computerId) => byComputer.get(computerId) ?? 0,
    most: (count) =>
      [...byComputer]
        .toSorted(([a, many], [b, others]) => others - many || (a < b ? -1 : 1))
        .slice(0, count)
        .map(([computerId]) => computerId),
    sums: () => ({ alerts, flash, computers: byComputer.size }),
  };
}
