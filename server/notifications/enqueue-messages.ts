import type { Random } from '../../lib/random.js';
import type { Sql } from '../database/sql.js';
import type { FleetInstant } from '../fleet-clock/fleet-clock.js';
import {
  countAlerts,
  hastenOlder,
  listAlerts,
  listedAlerts,
  openDeliveries,
  type ListedAlert,
  type NewDelivery,
  type NewListedAlert,
} from './delivery-repository.js';
import { chooseListed, groupLimits } from './grouping-rules.js';
import type { MessageKind } from './message.js';
import type { ToldAlert } from './told-alert-query.js';
import type { UsedRouting } from './told-repository.js';

/** An alert that goes by a route. */
export interface MessageEntry {
  readonly routing: UsedRouting;
  readonly alert: ToldAlert;
  readonly kind: MessageKind;
  readonly at: FleetInstant;
}

/** How long a message is tried before it is a dead letter. */
export const GIVEN_UP_AFTER_MS = 86_400_000;
/** More is not repeated in every message. */
const DETAIL_MAX = 4096;

/** Adds each entry to the message that its route is collecting, or to a new one. */
export async function enqueueMessages(
  sql: Sql,
  entries: readonly MessageEntry[],
  random: Pick<Random, 'uuid'>,
): Promise<void> {
  if (entries.length === 0) return;
  const groups = groupEntries(entries);
  const opened = await openDeliveries(
    sql,
    [...groups.values()].map((group) => toDelivery(group, random.uuid())),
  );
  const ids = opened.map(({ id }) => id);
  const present = await listedAlerts(sql, ids);
  const added = opened.map(({ id, routeId, kind }) => {
    const group = groups.get(keyOf(routeId, kind)) ?? [];
    return chooseFor(id, group, present);
  });
  await listAlerts(
    sql,
    added.flatMap(({ listed }) => listed),
  );
  await countAlerts(sql, added);
  await hastenOlder(sql, ids);
}

function groupEntries(entries: readonly MessageEntry[]): ReadonlyMap<string, readonly MessageEntry[]> {
  const groups = new Map<string, MessageEntry[]>();
  for (const entry of entries) {
    const key = keyOf(entry.routing.id, entry.kind);
    const group = groups.get(key) ?? [];
    groups.set(key, group);
    group.push(entry);
  }
  return groups;
}

function keyOf(routeId: string, kind: string): string {
  return `${routeId}/${kind}`;
}

function toDelivery(group: readonly MessageEntry[], id: string): NewDelivery {
  const [first] = group;
  if (!first) throw new Error('A group has no entry');
  const { routing, kind } = first;
  const createdAt = Math.min(...group.map(({ at }) => at));
  const dueAt = createdAt + routing.groupSeconds * 1000;
  const expiresAt = dueAt + GIVEN_UP_AFTER_MS;
  return { id, routeId: routing.id, kind, channelId: routing.channelId, createdAt, dueAt, expiresAt };
}

function chooseFor(deliveryId: string, group: readonly MessageEntry[], present: readonly ListedAlert[]) {
  const own = present.filter((one) => one.deliveryId === deliveryId);
  const limits = groupLimits(group[0]?.routing.channelType ?? 'email');
  const incoming = group.map(({ alert }) => ({ alertId: alert.id, computerId: alert.computerId, alert }));
  const { listed, added } = chooseListed(own, incoming, limits);
  const rows = listed.map(({ alertId, computerId, alert }, index): NewListedAlert => {
    return { deliveryId, alertId, computerId, position: own.length + index, shown: bounded(alert) };
  });
  return { deliveryId, added, listed: rows };
}

function bounded(alert: ToldAlert): ToldAlert {
  return JSON.stringify(alert.detail).length <= DETAIL_MAX ? alert : { ...alert, detail: { isTooLong: true } };
}
