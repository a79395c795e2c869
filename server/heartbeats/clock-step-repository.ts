import { toRfc3339 } from '../../lib/clock.js';
import { isPlainObject } from '../../lib/schema.js';
import type { FoundStep, ToldStep } from '../../policies/clock-steps.js';
import type { Sql } from '../database/sql.js';
import type { NewEvent } from '../events/event-writer.js';
import type { FleetInstant } from '../fleet-clock/fleet-clock.js';
import { toClaim, toClaimedInstant } from './clock-offset.js';

/** The alert, and the kind of the agent's event of a changed clock in lane `control`. */
export const CLOCK_CHANGED = 'clock-changed';
export const CLOCK_DRIFT = 'clock-drift';
const CLOCK_CHANGE_CODE = 5004;

export interface Span {
  readonly computerId: string;
  readonly after: FleetInstant;
  readonly until: FleetInstant;
}

/** The steps of clocks that are known by now; read only where one is told or found. */
export interface ClockStepRepository {
  /** What the computers' stored events told, received within the spans; by computer id. */
  readTold(sql: Sql, spans: readonly Span[]): Promise<ReadonlyMap<string, readonly ToldStep[]>>;
  /** What comparisons found, by the alerts that were raised for it, and the drifts that are open and began with a step. */
  readFound(sql: Sql, computerIds: readonly string[]): Promise<ReadonlyMap<string, readonly AlertedStep[]>>;
}

export interface AlertedStep extends FoundStep {
  readonly type: typeof CLOCK_CHANGED | typeof CLOCK_DRIFT;
}

/** So many of the latest events are looked through: an agent must not make the hot path read all that it ever sent. */
const MOST_EVENTS = 10_000;

const READ_TOLD = `
SELECT span.computer_id, told.lane, told.kind, told.code, told.data, told.occurred_ms
FROM unnest($1::uuid[], $2::bigint[], $3::bigint[]) AS span (computer_id, after, until)
CROSS JOIN LATERAL (
  SELECT events.lane, events.kind, events.code, events.data, events.occurred_ms FROM events
  WHERE events.computer_id = span.computer_id AND events.received_fleet_ms > span.after
    AND events.received_fleet_ms <= span.until
  ORDER BY events.received_fleet_ms DESC, events.id DESC LIMIT ${MOST_EVENTS}) AS told
WHERE told.code = ${CLOCK_CHANGE_CODE}`;

const READ_FOUND = `
SELECT alerts.computer_id, alerts.type, alerts.detail -> 'latest' AS latest FROM alerts
WHERE alerts.computer_id = ANY($1::uuid[]) AND alerts.detail ? 'latest' AND (alerts.type = '${CLOCK_CHANGED}'
  OR alerts.type = '${CLOCK_DRIFT}' AND alerts.state IN ('raised', 'acknowledged'))`;

interface ToldRow extends Pick<NewEvent, 'lane' | 'kind' | 'code' | 'data'> {
  readonly computer_id: string;
  readonly occurred_ms: unknown;
}

export function createClockStepRepository(): ClockStepRepository {
  return {
    async readTold(sql, spans) {
      if (spans.length === 0) return new Map();
      const rows = await sql.query<ToldRow>(READ_TOLD, [
        spans.map(({ computerId }) => computerId),
        spans.map(({ after }) => Math.floor(after)),
        spans.map(({ until }) => Math.floor(until)),
      ]);
      return byComputer(rows, (row) => toldBy({ ...row, occurredMs: Number(row.occurred_ms) }));
    },
    async readFound(sql, computerIds) {
      if (computerIds.length === 0) return new Map();
      const rows = await sql.query<FoundRow>(READ_FOUND, [computerIds]);
      return byComputer(rows, ({ type, latest }) => ({ type, ...latest, between: toBetween(latest.between) }));
    },
  };
}

/** What an agent wrote is a claim: anything but a number of milliseconds is stored as an event and no more. */
export function toldBy(event: Pick<NewEvent, 'lane' | 'kind' | 'code' | 'data' | 'occurredMs'>): ToldStep | undefined {
  const { lane, kind, code, data, occurredMs } = event;
  if (lane !== 'control' || kind !== CLOCK_CHANGED || code !== CLOCK_CHANGE_CODE || !isPlainObject(data))
    return undefined;
  const { stepMs } = data;
  return typeof stepMs === 'number' && Number.isFinite(stepMs) ? { stepMs: toClaim(stepMs), occurredMs } : undefined;
}

interface FoundRow {
  readonly computer_id: string;
  readonly type: AlertedStep['type'];
  readonly latest: StoredStep;
}

/** A found step as an alert's detail shows it. */
interface StoredStep extends Pick<FoundStep, 'stepMs' | 'withinMs' | 'offsetAfterMs'> {
  /** RFC 3339. */
  readonly between: readonly [string, string];
}

/** What an alert has to say of a found step, so that the agent's event of it is known when it comes. */
export function storedStep({ stepMs, withinMs, offsetAfterMs, between: [from, until] }: FoundStep): StoredStep {
  const toText = (at: number): string => toRfc3339(toClaimedInstant(at));
  return {
    stepMs: Math.round(stepMs),
    withinMs: Math.ceil(withinMs),
    offsetAfterMs,
    between: [toText(from), toText(until)],
  };
}

function toBetween([from, until]: StoredStep['between']): FoundStep['between'] {
  return [Date.parse(from), Date.parse(until)];
}

function byComputer<Row extends { readonly computer_id: string }, Step>(
  rows: readonly Row[],
  toStep: (row: Row) => Step | undefined,
): ReadonlyMap<string, readonly Step[]> {
  const steps = new Map<string, Step[]>();
  for (const row of rows) {
    const step = toStep(row);
    if (!step) continue;
    const known = steps.get(row.computer_id);
    if (known) known.push(step);
    else steps.set(row.computer_id, [step]);
  }
  return steps;
}
