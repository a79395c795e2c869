import type { Random } from '../../lib/random.js';
import type { Sql } from '../database/sql.js';
import type { FleetInstant } from '../fleet-clock/fleet-clock.js';
import { enqueueMessages } from './enqueue-messages.js';
import { decideReminder } from './routing-rules.js';
import { readToldAlerts } from './told-alert-query.js';
import { lockDueReminders, noteTold, readEnabledRoutings, type Reminded } from './told-repository.js';

const MINUTE_MS = 60_000;
const AT_ONCE = 500;

/** Reminds of alerts that nobody has acknowledged. What a suppression holds back is put off by the route's own interval. */
export async function enqueueReminders(sql: Sql, now: FleetInstant, random: Pick<Random, 'uuid'>): Promise<void> {
  const due = await lockDueReminders(sql, now, AT_ONCE);
  if (due.length === 0) return;
  const routings = new Map((await readEnabledRoutings(sql)).map((routing) => [routing.id, routing]));
  const decided = due.map((one) => {
    const routing = routings.get(one.routeId);
    const repeatMinutes = routing?.repeatMinutes ?? null;
    const facts = { ...one, state: one.state ?? 'gone', repeatMinutes };
    const decision = decideReminder(facts, now);
    const nextAt = decision === 'never' || repeatMinutes === null ? null : now + repeatMinutes * MINUTE_MS;
    const next: Reminded = { routeId: one.routeId, alertId: one.alertId, nextAt };
    return { next, routing: decision === 'send' ? routing : undefined };
  });
  await noteTold(
    sql,
    decided.map(({ next }) => next),
  );
  const sent = decided.filter(({ routing }) => routing !== undefined);
  const alerts = await readToldAlerts(
    sql,
    sent.map(({ next }) => next.alertId),
  );
  const entries = sent.flatMap(({ next, routing }) => {
    const alert = alerts.get(next.alertId);
    return alert && routing ? [{ routing, alert, kind: 'reminder' as const, at: now }] : [];
  });
  await enqueueMessages(sql, entries, random);
}
