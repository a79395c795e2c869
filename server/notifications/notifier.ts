import type { Log } from '../../lib/log.js';
import type { Random } from '../../lib/random.js';
import type { Sql } from '../database/sql.js';
import { enqueueMessages, type MessageEntry } from './enqueue-messages.js';
import type { Notice, NoticeKind, Notifier } from './notice.js';
import { matches } from './routing-rules.js';
import { readConcerned, readToldAlerts, type ToldAlert } from './told-alert-query.js';
import {
  noteTold,
  readEnabledRoutings,
  silenceTold,
  takeTold,
  type Told,
  type UsedRouting,
} from './told-repository.js';

export interface NotifierDeps {
  readonly random: Pick<Random, 'uuid'>;
  readonly log: Log;
}

/** Routes notices into the outbox of messages; the number of statements does not depend on how many there are. */
export function createNotifier({ random, log }: NotifierDeps): Notifier {
  let isSilenceTold = false;
  const tellSilence = (): void => {
    if (isSilenceTold) return;
    isSilenceTold = true;
    log.info('no notification route takes an alert: nothing is sent');
  };
  return {
    async enqueue(sql, notices) {
      if (notices.length === 0) return;
      const routings = await readEnabledRoutings(sql);
      const alerts = await readToldAlerts(
        sql,
        notices.map(({ alertId }) => alertId),
      );
      const work = { sql, routings, alerts };
      // Who was told is locked before the messages are: a reminder takes them in this order too.
      const ends = await entriesOfEnds(work, notices);
      const begins = await entriesOfBegins(work, notices);
      const entries = [...begins, ...ends];
      if (begins.length === 0 && notices.some(({ kind }) => BEGINNINGS.has(kind))) tellSilence();
      await enqueueMessages(sql, entries, random);
    },
  };
}

interface Work {
  readonly sql: Sql;
  readonly routings: readonly UsedRouting[];
  readonly alerts: ReadonlyMap<string, ToldAlert>;
}

async function entriesOfBegins({ sql, routings, alerts }: Work, notices: readonly Notice[]): Promise<MessageEntry[]> {
  const begun = notices.filter(({ kind }) => BEGINNINGS.has(kind));
  const asked = routings.some(({ policyId, label }) => policyId !== null || label !== null);
  const concerned = asked && begun.length > 0 ? await readConcerned(sql, begun.map(idOf)) : new Map();
  const entries = begun.flatMap(({ alertId, kind, at }) => {
    const alert = alerts.get(alertId);
    if (!alert) return [];
    const routed = { ...alert, computers: concerned.get(alertId) ?? [] };
    return routings.filter((routing) => matches(routing, routed)).map((routing) => ({ routing, alert, kind, at }));
  });
  await noteTold(
    sql,
    entries.map(({ routing, alert, at }) => {
      const { id, repeatMinutes } = routing;
      return { routeId: id, alertId: alert.id, nextAt: repeatMinutes === null ? null : at + repeatMinutes * MINUTE_MS };
    }),
  );
  return entries;
}

/** Only who was told of the beginning hears of what follows, whatever the route matches by now. */
async function entriesOfEnds(work: Work, notices: readonly Notice[]): Promise<MessageEntry[]> {
  const of = (...kinds: readonly string[]) => notices.filter(({ kind }) => kinds.includes(kind));
  const ended = of('resolved', 'dismissed');
  const seen = of('acknowledged');
  const toldOfEnd = await takeTold(work.sql, ended.map(idOf));
  const toldOfSight = await silenceTold(work.sql, seen.map(idOf));
  return [...entriesOf(work, seen, toldOfSight), ...entriesOf(work, ended, toldOfEnd)];
}

function entriesOf({ routings, alerts }: Work, notices: readonly Notice[], told: readonly Told[]): MessageEntry[] {
  const known = new Set(told.map(({ routeId, alertId }) => `${routeId}/${alertId}`));
  return notices.flatMap(({ alertId, kind, at }) => {
    const alert = alerts.get(alertId);
    const used = alert ? routings.filter(({ id }) => known.has(`${id}/${alertId}`)) : [];
    return alert ? used.map((routing) => ({ routing, alert, kind, at })) : [];
  });
}

const MINUTE_MS = 60_000;
/** What is told to everybody whose route takes the alert; who hears of the rest is who was told of one of these. */
const BEGINNINGS: ReadonlySet<NoticeKind> = new Set(['raised', 'flapping']);

function idOf({ alertId }: Notice): string {
  return alertId;
}
