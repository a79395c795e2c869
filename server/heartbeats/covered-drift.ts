import { toRfc3339 } from '../../lib/clock.js';
import { isDrifting } from '../../policies/clock-rules.js';
import type { AlertCondition, AlertWriter } from '../alerts/alert.js';
import type { CoveredConditions } from '../alerts/alert-service.js';
import type { Sql } from '../database/sql.js';
import type { FleetClock, FleetInstant } from '../fleet-clock/fleet-clock.js';
import { readGeneration } from '../policies/forest-repository.js';
import type { SettingsCache } from '../policies/settings-cache.js';
import { settingsSubjectOf, type LivenessRow } from '../statuses/liveness-row.js';
import { assessDrift, driftDetail } from './clock-alerts.js';
import { standingDifference } from './clock-findings.js';
import { createClockSampleRepository, mergeSamples, sampleOfRow, samplesOf } from './clock-sample-repository.js';
import { toClaimedInstant } from './clock-offset.js';
import { CLOCK_CHANGED, CLOCK_DRIFT } from './clock-step-repository.js';

export interface CoveredDriftDeps {
  readonly alerts: Pick<AlertWriter, 'raise'>;
  readonly settings: Pick<SettingsCache, 'ensure' | 'settingsOf'>;
  readonly fleetClock: Pick<FleetClock, 'toTrusted' | 'toWall'>;
}

/** The drift that an open `clock-changed` covers: a clock that was set wrong and never put right. */
export function createCoveredDrift(deps: CoveredDriftDeps): CoveredConditions {
  return {
    async lock(sql, { type, computerId }) {
      if (type === CLOCK_CHANGED) await sql.query(LOCK, [computerId]);
    },
    async uncover(sql, { type, computerId }, at) {
      if (type !== CLOCK_CHANGED) return;
      const [row] = await sql.query<DriftingRow>(READ, [computerId]);
      if (!row) return;
      const condition = await conditionOf(deps, { sql, row, at });
      if (condition) await deps.alerts.raise(sql, [condition]);
      else await clearDrift(sql, row.computer_id);
    },
  };
}

/** Forgets under the live row's lock that the clock drifts: nothing is open for it, and the next report judges anew. */
export async function clearDrift(sql: Sql, computerId: string): Promise<void> {
  await sql.query(CLEAR, [computerId]);
}

const LOCK = `
SELECT computer_live.computer_id FROM computer_live WHERE computer_live.computer_id = $1 FOR NO KEY UPDATE`;

const READ = `
SELECT computers.id AS computer_id, computers.kind, computers.policy_id, computers.overrides::text AS overrides,
  computer_live.clock_offset_ms, computer_live.clock_error_ms, computer_live.clock_sampled_fleet_ms,
  computer_live.confirmed_interval_ms
FROM computer_live JOIN computers ON computers.id = computer_live.computer_id
WHERE computer_live.computer_id = $1 AND computer_live.is_clock_drifting`;

const CLEAR = `
UPDATE computer_live SET is_clock_drifting = false
WHERE computer_live.computer_id = $1 AND computer_live.is_clock_drifting`;

interface DriftingRow extends Pick<
  LivenessRow,
  'computer_id' | 'kind' | 'policy_id' | 'overrides' | 'confirmed_interval_ms'
> {
  readonly clock_offset_ms: number | string | null;
  readonly clock_error_ms: number | string | null;
  readonly clock_sampled_fleet_ms: number | string | null;
}

interface Dismissal {
  readonly sql: Sql;
  readonly row: DriftingRow;
  readonly at: FleetInstant;
}

/** Judged by what is in force now: since the last report a limit may have been raised, or the manager's clock set. */
async function conditionOf(
  { settings, fleetClock }: CoveredDriftDeps,
  { sql, row, at }: Dismissal,
): Promise<AlertCondition | undefined> {
  if (row.clock_offset_ms === null) return undefined;
  await settings.ensure(await readGeneration(sql));
  const { clockLimits } = settings.settingsOf(settingsSubjectOf(row));
  const aheadMs = Number(row.clock_offset_ms);
  const errorMs = row.clock_error_ms === null ? null : Number(row.clock_error_ms);
  const difference = standingDifference({ aheadMs, errorMs }, at, fleetClock);
  if (!isDrifting(true, difference, clockLimits)) return undefined;
  const rings = await createClockSampleRepository().read(sql, [row.computer_id]);
  const sampledAt = row.clock_sampled_fleet_ms === null ? null : Number(row.clock_sampled_fleet_ms);
  const present = sampleOfRow({ clockOffsetMs: aheadMs, clockErrorMs: errorMs, clockSampledAt: sampledAt });
  const assessed = assessDrift({
    samples: mergeSamples([...samplesOf(rings.get(row.computer_id) ?? [], fleetClock), ...present]),
    at,
    trustedMs: fleetClock.toTrusted(at) - at,
    intervalMs: row.confirmed_interval_ms ?? 0,
  });
  return {
    type: CLOCK_DRIFT,
    subject: row.computer_id,
    computerId: row.computer_id,
    raisedAt: at,
    reason: CLOCK_DRIFT,
    detail: {
      ...driftDetail(assessed, { offsetMs: difference.fromTrustedMs, errorMs }),
      limitSeconds: clockLimits.driftMs / 1000,
      agentTime: toRfc3339(toClaimedInstant(at + aheadMs)),
      managerTime: toRfc3339(fleetClock.toTrusted(at)),
    },
    // It may have been open before the step: then nothing begins.
    unlessOpen: CLOCK_DRIFT,
  };
}
