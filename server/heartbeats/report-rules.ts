import { nextContactMs, phaseOf, repeatContactMs } from '../../policies/heartbeat-rules.js';
import {
  candidateStanding,
  committedBy,
  isInHand,
  isSettingsSent,
  retriedBy,
  type CandidateStanding,
} from '../../policies/candidate-rules.js';
import type { ContactOrder } from '../../policies/drain-rules.js';
import { isSettingsPendingDue, nextPendingContacts } from '../../policies/settings-state.js';
import { MAX_EVENTS_PER_REPORT, type Report } from '../../protocol/heartbeat-messages.js';
import { invalidFields, type FieldError } from '../../lib/problem.js';
import type { FleetClock, FleetInstant } from '../fleet-clock/fleet-clock.js';
import type { DeafSpan } from '../listening/listening.js';
import type { ComputerSettings } from '../policies/settings-cache.js';
import { judgeClock, type ClockFindings } from './clock-findings.js';
import type { ClockWitness } from './clock-witness.js';
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
  readonly witness?: ClockWitness | undefined;
  /** The digest to remember, null where the state could not be stored whole. */
  readonly stateDigest: Buffer | null;
  /** Whether that state is another than the stored one. */
  readonly isStateNew: boolean;
  /** The computer's address was changed since it told of a candidate that it reverted. */
  readonly isReaddressed?: boolean;
  /** The settings that the agent had reverted by the stored state; read where the state is new. */
  readonly revertedBefore: string | null;
  /** Orders another wait than the usual one. */
  readonly orderContact?: ContactOrder | undefined;
}

export interface Acceptance {
  readonly next: LiveRow;
  readonly nextContactInMs: number;
  readonly carriesSettings: boolean;
  /** The fingerprint of the candidate that this report proves, once it is stored. */
  readonly committed: string | null;
  /** The fingerprint of the candidate that is to be tried again; the answer carries its settings. */
  readonly retried: string | null;
  readonly settingsPending: 'raise' | 'resolve' | null;
  readonly clock: ClockFindings;
  /**
   * `keep`: the same revert as before, which counts no more, but has to be open; `resolve-others` ends what was about
   * settings that are not desired any more.
   */
  readonly settingsReverted: 'raise' | 'keep' | 'resolve' | 'resolve-others' | null;
}

interface DesiredSettings {
  readonly applied: string | null;
  readonly standing: CandidateStanding;
  readonly committed: string | null;
  readonly retried: string | null;
  /** The answer carries them. */
  readonly isSent: boolean;
}

/** What the desired settings are to a report, whichever connection it came over before. */
function desiredSettings(
  exchange: Exchange,
  { settings: { fingerprint: desired }, isReaddressed = false }: Pick<Circumstances, 'settings' | 'isReaddressed'>,
): DesiredSettings {
  const { candidate, appliedFingerprint: applied = null } = exchange.report;
  const facts = { desired, applied, candidate };
  const standing = candidateStanding(facts);
  const committed = committedBy(facts, exchange.dialledBy);
  const retried = retriedBy(facts, isReaddressed);
  return { applied, standing, committed, retried, isSent: retried !== null || isSettingsSent(facts) };
}

/** What the report's candidate is to the settings that are desired now. */
export function standingOf(exchange: Exchange, settings: ComputerSettings): CandidateStanding {
  return desiredSettings(exchange, { settings }).standing;
}

/** What an accepted report makes of the row, and what is ordered in its answer. */
export function acceptReport(row: LiveRow, exchange: Exchange, circumstances: Circumstances): Acceptance {
  const { settings, now, stateDigest } = circumstances;
  const { report, receivedAt, digest } = exchange;
  const wanted = desiredSettings(exchange, circumstances);
  const { applied, isSent: carriesSettings, committed, retried } = wanted;
  const confirmed = report.intervalSeconds * 1000;
  const phaseMs = phaseOf(row.computerId, settings.intervalMs);
  const { intervalMs } = settings;
  const usualMs = nextContactMs({ receivedAt, intervalMs, phaseMs });
  const nextContactInMs = circumstances.orderContact?.({ receivedAt, usualMs, intervalMs }) ?? usualMs;
  const clock = judgeClock(row, exchange, circumstances);
  const pending = nextPending(row, wanted, settings);
  const next: LiveRow = {
    computerId: row.computerId,
    lastSeenAt: Math.max(receivedAt, row.lastSeenAt ?? receivedAt),
    ...nextWays(row, exchange),
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
    hasCommands: row.hasCommands,
    awaitsResults: row.awaitsResults,
  };
  return {
    next,
    nextContactInMs,
    carriesSettings,
    committed,
    retried,
    settingsPending: pending.change,
    settingsReverted: nextReverted(row, wanted, circumstances),
    clock,
  };
}

export interface Repetition {
  /** The row to store; null when the repeat changes nothing. */
  readonly next: LiveRow | null;
  readonly nextContactInMs: number;
  readonly carriesSettings: boolean;
  readonly committed: string | null;
  readonly retried: string | null;
}

/**
 * What the answer to a repeat orders: the latest settings, and what remains of the wait. The row forgets when it was
 * answered, since the agent's timestamps of the next report belong to this answer. A repeat over another way than the
 * first time proves that way: what it reports is stored.
 */
export function repeatReport(
  row: LiveRow,
  exchange: Exchange,
  circumstances: Pick<Circumstances, 'settings' | 'now' | 'isReaddressed'>,
): Repetition {
  const { settings, now } = circumstances;
  const { isSent: carriesSettings, committed, retried } = desiredSettings(exchange, circumstances);
  const delivered = delivery(row, carriesSettings ? settings : null);
  const isUnchanged =
    row.answeredAt === null &&
    row.deliveredIntervalMs === delivered.deliveredIntervalMs &&
    row.deliveredFingerprint === delivered.deliveredFingerprint;
  const next = isUnchanged ? null : { ...row, ...delivered, answeredAt: null };
  const nextContactInMs = repeatContactMs(row.contactDueAt ?? now, now);
  return { next, nextContactInMs, carriesSettings, committed, retried };
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

/** When the computer was last heard over each way; a listener that is closed is not reachable, whatever was before. */
function nextWays(
  row: LiveRow,
  { dialledBy, receivedAt, report: { listener } }: Exchange,
): Pick<LiveRow, 'seenByAgentAt' | 'seenByDialAt'> {
  if (dialledBy === 'manager') return { seenByAgentAt: row.seenByAgentAt, seenByDialAt: receivedAt };
  return { seenByAgentAt: receivedAt, seenByDialAt: listener?.state === 'listening' ? row.seenByDialAt : null };
}

/**
 * Only a turn is worth a statement: a steady report says nothing new of the settings. A state is new for many reasons; the
 * revert is only where the stored one was none of the same settings.
 */
function nextReverted(
  row: LiveRow,
  { applied, standing, isSent }: DesiredSettings,
  { settings: { fingerprint: desired }, isStateNew, revertedBefore }: Circumstances,
): Acceptance['settingsReverted'] {
  if (standing === 'reverted') {
    if (!isStateNew) return null;
    return revertedBefore === desired ? 'keep' : 'raise';
  }
  const isDeliveryNew = row.deliveredFingerprint !== (isSent ? desired : null);
  if (!isStateNew && !isDeliveryNew && row.appliedFingerprint === applied) return null;
  return applied === desired ? 'resolve' : 'resolve-others';
}

function nextPending(
  row: LiveRow,
  { applied, standing }: DesiredSettings,
  settings: ComputerSettings,
): { count: number; change: 'raise' | 'resolve' | null } {
  const { pendingContacts, deliveredFingerprint: delivered } = row;
  const facts = { desired: settings.fingerprint, applied, delivered, isInHand: isInHand(standing), pendingContacts };
  const allowed = settings.settingsPendingContactsAllowed;
  const count = Math.min(MOST_PENDING_CONTACTS, nextPendingContacts(facts));
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

/** The gap that an accepted report ends: a silence longer than the interval in force, or than was ordered, and the grace. */
export function gapOf(
  row: LiveRow,
  receivedAt: FleetInstant,
  { graceMs, spans }: { readonly graceMs: number; readonly spans: readonly DeafSpan[] },
): HeartbeatGap | null {
  const intervalMs = intervalInForce(row);
  if (row.lastSeenAt === null || intervalMs === 0) return null;
  const expectedAt = Math.max(row.lastSeenAt + intervalMs, row.contactDueAt ?? 0);
  if (receivedAt <= expectedAt + graceMs) return null;
  const from = row.lastSeenAt;
  const deafMs = spans.reduce(
    (sum, span) => sum + Math.max(0, Math.min(span.until, receivedAt) - Math.max(span.from, from)),
    0,
  );
  return { from, until: receivedAt, intervalMs, deafMs };
}
