import { assessClock, type ClockAssessment, type ClockRecord } from '../../policies/clock-assessment.js';
import type { ClockSample } from '../../policies/clock-samples.js';
import type { Sql } from '../database/sql.js';
import type { FleetClock, FleetInstant } from '../fleet-clock/fleet-clock.js';
import { mergeSamples, sampleOfRow, samplesOf } from '../heartbeats/clock-sample-repository.js';
import { createClockStepRepository } from '../heartbeats/clock-step-repository.js';
import { unpackReceipts } from '../heartbeats/receipt-ring.js';
import { readDoubts, readTold, readWallSteps, type ClockRow, type ManagerDoubt } from './clock-query.js';

export interface ClockReaderDeps {
  readonly sql: Sql;
  readonly clock: Pick<FleetClock, 'fleet' | 'toWall' | 'toTrusted'>;
}

/** One computer's clock at an instant, with all samples that are kept. */
export interface ReadClock extends ClockAssessment {
  readonly at: FleetInstant;
  readonly samples: readonly ClockSample[];
}

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;
/** Steps of before are told by nobody any more. */
const TOLD_WITHIN_MS = 30 * DAY_MS;
/** The manager says again every hour what it finds. */
const DOUBT_STANDS_MS = 2 * HOUR_MS;

/** Gathers what is stored of a clock, and assesses it. The caller has checked that the computer may be seen. */
export async function readClock(deps: ClockReaderDeps, row: ClockRow, since?: FleetInstant): Promise<ReadClock> {
  const { sql, clock } = deps;
  const at = Math.floor(clock.fleet());
  const samples = samplesOfComputer(row, clock);
  const told = await readTold(sql, row.computer_id, Math.min(since ?? at, at - TOLD_WITHIN_MS));
  const record = {
    at,
    trustedMs: clock.toTrusted(at) - at,
    intervalMs: row.confirmed_interval_ms ?? 0,
    samples,
    told,
    found: await readFound(deps, row.computer_id),
    manager: await readManager(deps, at),
  };
  return { ...assessClock(record), at, samples };
}

function samplesOfComputer(row: ClockRow, clock: ClockReaderDeps['clock']): ClockSample[] {
  const present = sampleOfRow({
    clockOffsetMs: asNumber(row.clock_offset_ms),
    clockErrorMs: asNumber(row.clock_error_ms),
    clockSampledAt: asNumber(row.clock_sampled_fleet_ms),
  });
  return mergeSamples([...present, ...samplesOf(unpackReceipts(row.ring ?? Buffer.alloc(0)), clock)]);
}

function asNumber(value: number | string | null): number | null {
  return value === null ? null : Number(value);
}

/** What the manager's comparison found and raised; the alerts date it by trusted time. */
async function readFound(
  { sql, clock }: ClockReaderDeps,
  computerId: string,
): Promise<NonNullable<ClockRecord['found']>> {
  const found = (await createClockStepRepository().readFound(sql, [computerId])).get(computerId) ?? [];
  const now = clock.fleet();
  const trustedMs = clock.toTrusted(now) - now;
  return found.map(({ stepMs, between: [from, until] }) => ({
    byMs: stepMs,
    from: from - trustedMs,
    until: until - trustedMs,
  }));
}

async function readManager({ sql, clock }: ClockReaderDeps, at: FleetInstant): Promise<ClockRecord['manager']> {
  const trustedMs = clock.toTrusted(at) - at;
  const dayBefore = at - DAY_MS;
  const instants = [dayBefore, ...(await readWallSteps(sql, dayBefore))];
  const showed = instants.map((from) => ({ at: from, offsetMs: clock.toWall(from) - from - trustedMs }));
  const doubts = await readDoubts(sql, dayBefore);
  const steps = doubts
    .filter(({ found }) => found === 'stepped')
    .map(({ at: noticedAt, ms }) => ({ at: noticedAt, byMs: ms }));
  return { showed, majority: majorityIn(doubts, at), steps };
}

function majorityIn(doubts: readonly ManagerDoubt[], at: FleetInstant): ClockRecord['manager']['majority'] {
  const beside = doubts.filter(({ found }) => found === 'beside');
  const [newest] = beside;
  if (!newest || at - newest.at > DOUBT_STANDS_MS) return null;
  return { at: beside.at(-1)?.at ?? newest.at, aheadMs: newest.ms, computers: newest.computers };
}
