import { toRfc3339 } from '../../lib/clock.js';
import type { AlertCondition, AlertWriter } from '../alerts/alert.js';
import type { Sql } from '../database/sql.js';
import type { FleetClock, FleetInstant } from '../fleet-clock/fleet-clock.js';
import type { SettingsCache } from '../policies/settings-cache.js';
import type { ClaimedJob } from '../scheduler/claimed-job.js';
import { deleteForgotten, readLate, readOpen, type LateCertificate, type LatePosition } from './expiry-repository.js';
import { alertFrom } from './renewal-rules.js';

export interface ExpiryJobDeps {
  readonly job: ClaimedJob;
  readonly settings: Pick<SettingsCache, 'settingsOf'>;
  readonly alerts: Pick<AlertWriter, 'raise' | 'resolve'>;
  readonly fleetClock: Pick<FleetClock, 'trustedTime' | 'fleet'>;
}

/** Raises `certificate-expiring` for computers whose certificates were not renewed in time, and resolves it. */
export interface ExpiryJob {
  /** One look at all, by pages; to be called every minute. */
  run(signal: AbortSignal): Promise<void>;
  /** Forgets what was revoked and has been expired for long. */
  tidy(signal: AbortSignal): Promise<void>;
  /** Gives the job to another process. */
  release(): Promise<void>;
}

export const CERTIFICATE_EXPIRING = 'certificate-expiring';
const PER_PAGE = 500;
const DAY_MS = 86_400_000;
/** Reports by it are refused for its date by then, and nothing renews it. */
const FORGOTTEN_DAYS = 30;

export function createExpiryJob(deps: ExpiryJobDeps): ExpiryJob {
  const { job, fleetClock } = deps;
  return {
    async run(signal) {
      await inPages<LatePosition>(deps, signal, (sql, after) => raiseLate(deps, sql, after));
      await inPages<string>(deps, signal, (sql, after) => resolveEnded(deps, sql, after));
    },
    async tidy(signal) {
      const before = fleetClock.trustedTime() - FORGOTTEN_DAYS * DAY_MS;
      await inPages(deps, signal, (sql) => deleteForgotten(sql, { before, limit: PER_PAGE }));
    },
    release: () => job.release(),
  };
}

/** Pages of work, each in a transaction of its own, until one is not full or another process has the job. */
async function inPages<Position>(
  { job }: ExpiryJobDeps,
  signal: AbortSignal,
  page: (sql: Sql, after: Position | null) => Promise<readonly Position[]>,
): Promise<void> {
  let after: Position | null = null;
  while (!signal.aborted) {
    const position: Position | null = after;
    const done: { readonly value: readonly Position[] } | undefined = await job.run((sql) => page(sql, position));
    if (!done || done.value.length < PER_PAGE) return;
    after = done.value.at(-1) ?? null;
  }
}

/** Answers where it looked. */
async function raiseLate(deps: ExpiryJobDeps, sql: Sql, after: LatePosition | null): Promise<readonly LatePosition[]> {
  const { alerts, fleetClock } = deps;
  const now = fleetClock.trustedTime();
  const at = Math.floor(fleetClock.fleet());
  const late = await readLate(sql, { now, after, limit: PER_PAGE });
  const due = late.filter((one) => isDue(deps, one, now) === true);
  await alerts.raise(
    sql,
    due.map((one) => toCondition(one, { at, now })),
  );
  return late.map(({ lateFrom, serial }) => ({ lateFrom, serial }));
}

/** Undefined where the policy is newer than the cache: the next look has it. */
function isDue({ settings }: ExpiryJobDeps, certificate: LateCertificate, now: number): boolean | undefined {
  const alertDays = alertDaysOf(settings, certificate);
  return alertDays === undefined ? undefined : now >= alertFrom(certificate, alertDays);
}

function alertDaysOf(settings: ExpiryJobDeps['settings'], { subject }: LateCertificate): number | undefined {
  try {
    return settings.settingsOf(subject).certificateDays.expiryAlert;
  } catch {
    return undefined;
  }
}

function toCondition(
  { computerId, serial, notAfter }: LateCertificate,
  { at, now }: { readonly at: FleetInstant; readonly now: number },
): AlertCondition {
  const reason = now > notAfter ? 'certificate-expired' : CERTIFICATE_EXPIRING;
  const detail = { serial, notAfter: toRfc3339(notAfter) };
  return { type: CERTIFICATE_EXPIRING, subject: computerId, computerId, raisedAt: at, reason, detail };
}

async function resolveEnded(deps: ExpiryJobDeps, sql: Sql, after: string | null): Promise<readonly string[]> {
  const { alerts, fleetClock } = deps;
  const now = fleetClock.trustedTime();
  const at = Math.floor(fleetClock.fleet());
  const open = await readOpen(sql, { after, limit: PER_PAGE });
  const ended = open.filter(({ certificate }) => !certificate || isDue(deps, certificate, now) === false);
  if (ended.length > 0)
    await alerts.resolve(
      sql,
      CERTIFICATE_EXPIRING,
      ended.map(({ computerId }) => ({ subject: computerId, at })),
    );
  return open.map(({ computerId }) => computerId);
}
