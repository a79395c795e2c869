import type { WindowTarget } from '../../policies/maintenance-rules.js';

export const WINDOW_STATES = ['upcoming', 'active', 'over'] as const;
export type WindowState = (typeof WINDOW_STATES)[number];

/** A window for which somebody asked once; wall instants. */
export interface MaintenanceOrder extends WindowTarget {
  readonly id: string;
  readonly startsAt: Date;
  readonly endsAt: Date;
  readonly comment: string;
  readonly createdAt: Date;
  readonly createdBy: string;
}

/** What decides about a computer's maintenance. */
export interface MaintenanceSubject {
  readonly computer_id: string;
  readonly name: string;
  readonly kind: 'agent' | 'appliance';
  readonly policy_id: string;
  readonly overrides: string | null;
  readonly labels: Readonly<Record<string, string>>;
}

export function windowStateOf({ startsAt, endsAt }: Pick<MaintenanceOrder, 'startsAt' | 'endsAt'>, now: number) {
  if (endsAt.getTime() <= now) return 'over';
  return startsAt.getTime() <= now ? 'active' : 'upcoming';
}
