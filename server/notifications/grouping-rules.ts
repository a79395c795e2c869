import type { ChannelType } from './channel.js';

export interface GroupLimits {
  /** Alerts that one message lists; what comes more is counted. */
  readonly alerts: number;
  /** Of them of one computer, so that a noisy one leaves room for the others. */
  readonly perComputer: number;
}

const LIMITS: Readonly<Record<ChannelType, GroupLimits>> = {
  email: { alerts: 100, perComputer: 5 },
  webhook: { alerts: 100, perComputer: 5 },
  slack: { alerts: 20, perComputer: 3 },
  // A SIEM wants each event, and each is a message of its own.
  syslog: { alerts: 1000, perComputer: 50 },
};

export function groupLimits(type: ChannelType): GroupLimits {
  return LIMITS[type];
}

export interface Groupable {
  readonly alertId: string;
  readonly computerId: string | null;
}

export interface Chosen<Item> {
  readonly listed: readonly Item[];
  /** How many are new to the message, listed or not. */
  readonly added: number;
}

/** Which of the incoming alerts a message lists beside those it has. An alert that is listed already is not told twice. */
export function chooseListed<Item extends Groupable>(
  present: readonly Groupable[],
  incoming: readonly Item[],
  { alerts, perComputer }: GroupLimits,
): Chosen<Item> {
  const known = new Set(present.map(({ alertId }) => alertId));
  const ofComputer = new Map<string, number>();
  for (const { computerId } of present) count(ofComputer, computerId);
  const listed: Item[] = [];
  let added = 0;
  for (const item of incoming) {
    if (known.has(item.alertId)) continue;
    known.add(item.alertId);
    added += 1;
    const isFull = present.length + listed.length >= alerts;
    if (isFull || (ofComputer.get(item.computerId ?? '') ?? 0) >= perComputer) continue;
    count(ofComputer, item.computerId);
    listed.push(item);
  }
  return { listed, added };
}

/** Alerts of no computer have no bound of their own. */
function count(ofComputer: Map<string, number>, computerId: string | null): void {
  if (computerId !== null) ofComputer.set(computerId, (ofComputer.get(computerId) ?? 0) + 1);
}
