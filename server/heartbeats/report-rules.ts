import { nextContactMs, phaseOf, repeatContactMs } from '../../policies/heartbeat-rules.js';
import { isSettingsPendingDue, nextPendingContacts } from '../../policies/settings-state.js';
import { MAX_EVENTS_PER_REPORT, type Report } from '../../protocol/heartbeat-messages.js';
import { invalidFields, type FieldError } from '../../lib/problem.js';
import type { FleetClock, FleetInstant } from '../fleet-clock/fleet-clock.js';
import type { DeafSpan } from '../listening/listening.js';
import type { ComputerSettings } from '../policies/settings-cache.js';
import { judgeClock, type ClockFindings } from './clock-findings.js';
import type { Exchange } from './exchange.js';
import { intervalInForce, type LiveRow, type LockedComputer } from './live-row.js';

export type Classification = 'accepted' | 'repeat' | 'older' | 'removed' | 'revoked';

const MOST_PENDING_CONTACTS = 1000;
/** An open condition is told again this often, for a limit that was lowered after it had been passed. */
const RAISE_AGAIN_CONTACTS = 16;

/** What a report is to the stored row. The lock on the row makes the answer final. */
export function classifyReport(locked: LockedComputer | undefined, { report, digest }: Exchange): Classification {
  if (!locked) return 'removed';
  if (locked.isRevoked) return 'revoked';
  const { live } = locked;
  if (live.reportId === report.reportId && live.reportDigest?.equals(digest)) return 'repeat';
  return live.bootId === report.bootId && report.sequence <= live.sequence ? 'older' : 'accepted';
}

/** Refuses lanes that contradict themselves: one batch per lane, ascending by sequence, not too many events in all. */
export function assertLanes({ lanes }: Report): void {
  const errors: FieldError[] = [];
  const total = lanes.reduce((sum, { events }) => sum + events.length, 0);
  if (total > MAX_EVENTS_PER_REPORT)
    errors.push({ pointer: '#/lanes', detail: `must carry at most ${MAX_EVENTS_PER_REPORT} events in all` });
  for (const [index, { lane, events }] of lanes.entries()) {
    if (lanes.findIndex((other) => other.lane === lane) !== index)
      errors.push({ pointer: `#/lanes/${index}/lane`, detail: 'must be named once' });
    const fault = events.findIndex((event, at) => at > 0 && event.sequence <= (events[at - 1]?.sequence ?? -1));
    if (fault !== -1)
      errors.push({
        pointer: `#/lanes/${index}/events/${fault}/sequence`,
        detail: 'must be greater than the one before',
      });
  }
  if (errors.length > 0) throw invalidFields(errors);
}

export interface Circumstances {
  readonly settings: ComputerSettings;
  /** When the batch is about to be answered. */
  readonly now: FleetInstant;
  readonly clock: Pick<FleetClock, 'toWall' | 'toTrusted'>;
  /** The digest to remember, null where the state could not be stored whole. */
  readonly stateDigest: Buffer | null;
}

export interface Acceptance {
  readonly next: LiveRow;
  readonly nextContactInMs: number;
  readonly carriesSettings: boolean;
  readonly settingsPending: 'raise' | 'resolve' | null;
  readonly clock: ClockFindings;
}

/** What an accepted report makes of the row, and what is ordered in its answer. */
export function acceptReport(row: LiveRow, exchange: Exchange, circumstances: Circumstances): Acceptance {
  const { settings, now, stateDigest } = circumstances;
  const { report, receivedAt, digest } = exchange;
  const applied = report.appliedFingerprint ?? null;
  const carriesSettings = applied !== settings.fingerprint;
  const confirmed = report.intervalSeconds * 1000;
  const phaseMs = phaseOf(row.computerId, settings.intervalMs);
  const nextContactInMs = nextContactMs({ receivedAt, intervalMs: settings.intervalMs, phaseMs });
  const clock = judgeClock(row, exchange, circumstances);
  const pending = nextPending(row, applied, settings);
  const next: LiveRow = {
    computerId: row.computerId,
    lastSeenAt: Math.max(receivedAt, row.lastSeenAt ?? receivedAt),
    contactDueAt: receivedAt + nextContactInMs,
    confirmedIntervalMs: confirmed,
    ...delivery({ ...row, confirmedIntervalMs: confirmed }, carriesSettings ? settings : null),
    sequence: report.sequence,
    reportId: report.reportId,
    reportDigest: digest,
    bootId: report.bootId,
    instanceId: report.instanceId,
    tokenN: row.tokenN + 1,
    appliedFingerprint: applied,
    pendingContacts: pending.count,
    stateDigest,
    answeredAt: now,
    ...clock.columns,
  };
  return {
    next,
    nextContactInMs,
    carriesSettings,
    settingsPending: pending.change,
    clock,
  };
}

export interface Repetition {
  /** The row to store; null when the repeat changes nothing. */
  readonly next: LiveRow | null;
  readonly nextContactInMs: number;
  readonly carriesSettings: boolean;
}

/**
 * What the answer to a repeat orders: the latest settings, and what remains of the wait. The row forgets when it was
 * answered, since the agent's timestamps of the next report belong to this answer.
 */
export function repeatReport(row: LiveRow, settings: ComputerSettings, now: FleetInstant): Repetition {
  const carriesSettings = row.appliedFingerprint !== settings.fingerprint;
  const delivered = delivery(row, carriesSettings ? settings : null);
  const isUnchanged =
    row.answeredAt === null &&
    row.deliveredIntervalMs === delivered.deliveredIntervalMs &&
    row.deliveredFingerprint === delivered.deliveredFingerprint;
  const next = isUnchanged ? null : { ...row, ...delivered, answeredAt: null };
  return { next, nextContactInMs: repeatContactMs(row.contactDueAt ?? now, now), carriesSettings };
}

/** What the row remembers of the settings in this answer: the longest interval that may now be in force. */
function delivery(
  row: LiveRow,
  settings: ComputerSettings | null,
): Pick<LiveRow, 'deliveredIntervalMs' | 'deliveredFingerprint'> {
  if (!settings) return { deliveredIntervalMs: null, deliveredFingerprint: null };
  const isOutstanding = row.deliveredIntervalMs !== null && row.deliveredIntervalMs !== row.confirmedIntervalMs;
  const longest = Math.max(isOutstanding ? (row.deliveredIntervalMs ?? 0) : 0, settings.intervalMs);
  return {
    deliveredIntervalMs: longest === row.confirmedIntervalMs ? null : longest,
    deliveredFingerprint: settings.fingerprint,
  };
}

function nextPending(
  row: LiveRow,
  applied: string | null,
  settings: ComputerSettings,
): { count: number; change: 'raise' | 'resolve' | null } {
  const facts = { desired: settings.fingerprint, applied, delivered: row.deliveredFingerprint };
  const allowed = settings.settingsPendingContactsAllowed;
  const count = Math.min(
    MOST_PENDING_CONTACTS,
    nextPendingContacts({ ...facts, pendingContacts: row.pendingContacts }),
  );
  if (count === 0) return { count, change: row.pendingContacts > 0 ? 'resolve' : null };
  const isNew = !isSettingsPendingDue(count - 1, allowed) || count % RAISE_AGAIN_CONTACTS === 0;
  return { count, change: isSettingsPendingDue(count, allowed) && isNew ? 'raise' : null };
}

export interface HeartbeatGap {
  readonly from: FleetInstant;
  readonly until: FleetInstant;
  readonly intervalMs: number;
  /** How much of it the manager was deaf. */
  readonly deafMs: number;
}

/** The gap that an accepted report ends: a silence longer than the interval in force and the grace. */
export function gapOf(
  row: LiveRow,
  receivedAt: FleetInstant,
  { graceMs, spans }: { readonly graceMs: number; readonly spans: readonly DeafSpan[] },
): HeartbeatGap | null {
  const intervalMs = intervalInForce(row);
  if (row.lastSeenAt === null || intervalMs === 0 || receivedAt - row.lastSeenAt <= intervalMs + graceMs) return null;
  const from = row.lastSeenAt;
  const deafMs = spans.reduce(
    (sum, span) => sum + Math.max(0, Math.min(span.until, receivedAt) - Math.max(span.from, from)),
    0,
  );
  return { from, until: receivedAt, intervalMs, deafMs };
}
