import { createLedger } from '../../policies/listening-ledger.js';
import type { CoreOverrides } from '../../server/compose-core.js';
import type { OpenedFleetClock } from '../../server/fleet-clock/open-fleet-clock.js';
import type { Exchange } from '../../server/heartbeats/exchange.js';
import type { SeededRandom } from './seeded-random.js';
import type { Statement, StatementTwist } from './simulated-database.js';

export const SABOTAGES = ['no-ledger', 'no-warmup', 'agent-clock', 'stale-interval', 'lost-ack'] as const;
export type Sabotage = (typeof SABOTAGES)[number];

/** A break of the product on purpose, put in where it is composed: the oracle must find it. */
export interface Sabotaged {
  readonly overrides?: CoreOverrides;
  readonly statements?: StatementTwist;
  readonly exchange?: (exchange: Exchange, clock: OpenedFleetClock) => Exchange;
}

/** `isBegun`: the fleet is there; before, nothing is broken. */
export function sabotageOf(
  name: Sabotage | undefined,
  { random, isBegun }: { readonly random: SeededRandom; readonly isBegun: () => boolean },
): Sabotaged {
  switch (name) {
    case undefined:
      return {};
    case 'no-ledger':
      return { statements: { after: dropSpans } };
    case 'no-warmup':
      return { overrides: { createLedger: withoutWayBack } };
    case 'agent-clock':
      return { exchange: receivedByAgentClock };
    case 'stale-interval':
      return { statements: { after: keepFirstIntervals() } };
    case 'lost-ack':
      return { statements: { before: loseCommits(random, isBegun) } };
  }
}

/** Times of deafness are stored and never read. */
function dropSpans({ text }: Statement, rows: unknown[]): unknown[] {
  return /^\s*SELECT listener, from_fleet_ms/.test(text) ? [] : rows;
}

/** The time counts as deaf, but nobody is given time to come back after it. */
function withoutWayBack(spans: Parameters<typeof createLedger>[0]): ReturnType<typeof createLedger> {
  const ledger = createLedger(spans);
  return { ...ledger, spans: [], firstEndingAfter: () => 0 };
}

/** Liveness by what the agent says of the time. */
function receivedByAgentClock(exchange: Exchange, clock: OpenedFleetClock): Exchange {
  const claimed = clock.toFleet(exchange.report.agentTime);
  return { ...exchange, receivedAt: Math.min(claimed, exchange.receivedAt) };
}

interface SuspectRow {
  readonly computer_id: string;
  confirmed_interval_ms?: number | null;
  delivered_interval_ms?: number | null;
}

/** Verdicts rest on the interval that a computer had when it was first looked at. */
function keepFirstIntervals(): StatementTwist['after'] & object {
  const first = new Map<string, number>();
  return ({ text }, rows) => {
    if (!text.includes('offline_alert_open')) return rows;
    for (const row of rows as SuspectRow[]) {
      const present = row.confirmed_interval_ms ?? 0;
      const known = first.get(row.computer_id) ?? present;
      if (known > 0) first.set(row.computer_id, known);
      row.confirmed_interval_ms = known;
      row.delivered_interval_ms = null;
    }
    return rows;
  };
}

/** Now and then a transaction is answered for and not kept. */
function loseCommits(random: SeededRandom, isBegun: () => boolean): StatementTwist['before'] & object {
  return (statement) =>
    statement.text === 'COMMIT' && isBegun() && random.chance(0.01) ? { ...statement, text: 'ROLLBACK' } : statement;
}
