import { backoffDelayMs } from '../../lib/backoff.js';
import { missDeadline, phaseOf } from '../../policies/heartbeat-rules.js';
import type { Ledger } from '../../policies/listening-ledger.js';
import type { COMMUNICATION_DIRECTIONS } from '../../protocol/heartbeat-messages.js';
import type { FleetInstant } from '../fleet-clock/fleet-clock.js';

export type Direction = (typeof COMMUNICATION_DIRECTIONS)[number];

/** What is stored of a computer that decides whether and when it is dialled. Fingerprints are lower-case hex. */
export interface DialFacts {
  readonly computerId: string;
  readonly isRevoked: boolean;
  /** Null for a record that no agent has taken yet. */
  readonly enrolledAt: FleetInstant | null;
  readonly lastSeenAt: FleetInstant | null;
  readonly contactDueAt: FleetInstant | null;
  /** The interval that deadlines count in. */
  readonly intervalMs: number;
  readonly appliedFingerprint: string | null;
  /** The settings that the last answer carried. */
  readonly deliveredFingerprint: string | null;
  readonly desired: { readonly fingerprint: string; readonly direction: Direction; readonly graceMs: number };
  /** In force at the agent; null while it never reported one. */
  readonly direction: Direction | null;
  readonly directionSince: FleetInstant | null;
  readonly isListening: boolean;
  /** It holds a channel, over which settings reach it at once. */
  readonly isHeld: boolean;
  readonly candidate: CandidateFacts | null;
  /** Consecutive dials that failed, and the last of them; null while the last dial was answered or there was none. */
  readonly failed: FailedDials | null;
  readonly commands: CommandFacts;
}

/** What of its commands a dial would be for. */
export interface CommandFacts {
  /** Some are to be delivered. */
  readonly areWaiting: boolean;
  /** The agent has some whose results are not told. */
  readonly areAwaited: boolean;
}

export interface CandidateFacts {
  readonly fingerprint: string;
  readonly direction: Direction | null;
  readonly state: 'proving' | 'reverted';
  readonly since: FleetInstant;
}

export interface FailedDials {
  readonly count: number;
  readonly lastBegunAt: FleetInstant;
  readonly lastEndedAt: FleetInstant;
  readonly lastResult: string;
}

/** What a dial is for: it decides at which port the agent is called. */
export type DialPurpose = 'heartbeat' | 'candidate' | 'settings' | 'commands' | 'overdue' | 'listener';

export type DialDecision =
  | { readonly kind: 'dial'; readonly purpose: DialPurpose; readonly dueAt: FleetInstant }
  | { readonly kind: 'wait'; readonly until: FleetInstant }
  | { readonly kind: 'forget' };

export interface Circumstances {
  readonly at: FleetInstant;
  readonly ledger: Ledger;
  /** Something about the computer changed: what failed before says nothing now. */
  readonly ignoreFailures: boolean;
  /** No place is free for the dial of a listener for its own sake: the other reasons to dial it stay. */
  readonly areListenersPutOff?: boolean;
}

/** Fast and slow lane: dials of computers that kept the last one waiting are no others' business. */
export type DialLane = 'fast' | 'slow';
/** Dials that may be open, by lane; 200 in all. */
export const LANE_LIMITS: Readonly<Record<DialLane, number>> = { fast: 120, slow: 80 };
/** Of those, dials of listeners for their own sake: nobody else waits for a place because of them. */
export const LISTENER_RETRIES_MAX = 40;

const CANDIDATE_MS = 120_000;
const CANDIDATE_RETRY_MS = 3000;
const SHORTEST_RETRY_MS = 1000;
const HEARTBEAT_BACKOFF_CAP_MS = 900_000;
const UNREACHABLE_BACKOFF = { firstMs: 10_000, capMs: 3_600_000 };
/** A listener that failed is tried again for its own sake: after a quarter of an hour at the earliest, ever more rarely. */
const LISTENER_RETRY_MS = 900_000;
/** One that finds no place is looked at again after this. */
const LISTENER_PUT_OFF_MS = 60_000;
const LISTENER_BACKOFF = { firstMs: LISTENER_RETRY_MS, capMs: 86_400_000 };
const LONGEST_CATCH_UP_MS = 60_000;
const OVERDUE_MS = 2000;
/** From one report to the dial for commands, or for the results of those that run. */
const DELIVERY_MS = 500;
const RESULTS_MS = 2000;
const FRACTIONS = 2 ** 20;

interface Option {
  readonly purpose: DialPurpose;
  readonly dueAt: FleetInstant;
}

/** Whether a computer is dialled now, when it is looked at next, or that there is no reason to dial it. */
export function decideDial(facts: DialFacts, circumstances: Circumstances): DialDecision {
  const options = facts.isRevoked || facts.enrolledAt === null ? [] : optionsOf(facts, circumstances);
  const [first] = options.toSorted((a, b) => a.dueAt - b.dueAt);
  if (!first) return { kind: 'forget' };
  return first.dueAt <= circumstances.at ? { kind: 'dial', ...first } : { kind: 'wait', until: first.dueAt };
}

function optionsOf(facts: DialFacts, circumstances: Circumstances): Option[] {
  return [
    heartbeatOption(facts, circumstances),
    candidateOption(facts, circumstances),
    listenerOption(facts, circumstances),
    ...standbyOptions(facts, circumstances),
  ].filter((option) => option !== undefined);
}

/** Who is dialled for its heartbeats: the direction says so, or will for one that just enrolled. */
function isHeartbeatDialled({ direction, desired, lastSeenAt }: DialFacts): boolean {
  if (direction === null && lastSeenAt === null) return desired.direction === 'managerInitiated';
  return direction === 'managerInitiated';
}

function heartbeatOption(facts: DialFacts, { at, ignoreFailures }: Circumstances): Option | undefined {
  if (!isHeartbeatDialled(facts)) return undefined;
  const ordered = facts.contactDueAt ?? facts.enrolledAt ?? at;
  const wanted = Math.min(ordered, commandsDueAt(facts));
  const dueAt = isSettingsWaiting(facts) ? Math.min(wanted, at) : wanted;
  return { purpose: 'heartbeat', dueAt: ignoreFailures ? dueAt : Math.max(dueAt, heartbeatRetryAt(facts)) };
}

/** Who is only ever dialled is dialled for its commands and for their results; soon after one report for the next. */
function commandsDueAt({ commands: { areWaiting, areAwaited }, lastSeenAt }: DialFacts): FleetInstant {
  if (lastSeenAt === null || (!areWaiting && !areAwaited)) return Number.POSITIVE_INFINITY;
  return lastSeenAt + (areWaiting ? DELIVERY_MS : RESULTS_MS);
}

/**
 * The instant of the next heartbeat dial after a failed one: never more than an interval later, and at the latest when
 * the next miss becomes due, which only a dial begun from then on can prove.
 */
export function heartbeatRetryAt(facts: DialFacts): FleetInstant {
  const { failed, intervalMs, contactDueAt, lastSeenAt } = facts;
  if (!failed) return Number.NEGATIVE_INFINITY;
  const options = { firstMs: 2 * SHORTEST_RETRY_MS, capMs: Math.min(intervalMs, HEARTBEAT_BACKOFF_CAP_MS) };
  const delay = Math.max(SHORTEST_RETRY_MS, backoffDelayMs(failed.count - 1, options, chanceOf(facts, failed.count)));
  const retryAt = failed.lastEndedAt + delay;
  if (lastSeenAt === null) return retryAt;
  const firstMissDue = Math.max(lastSeenAt + intervalMs, contactDueAt ?? 0);
  const passed = Math.max(0, Math.floor((failed.lastBegunAt - firstMissDue) / intervalMs) + 1);
  const nextMissDue = firstMissDue + passed * intervalMs;
  return Math.min(retryAt, Math.max(nextMissDue, failed.lastEndedAt + SHORTEST_RETRY_MS));
}

/** A listener that waits for its proof is dialled at once, and again every few seconds until its deadline. */
function candidateOption({ candidate, failed }: DialFacts, { at }: Circumstances): Option | undefined {
  const isProving = candidate?.state === 'proving' && candidate.direction === 'managerInitiated';
  if (!candidate || !isProving || at >= candidate.since + CANDIDATE_MS) return undefined;
  const retryAt = failed ? failed.lastEndedAt + CANDIDATE_RETRY_MS : candidate.since;
  return { purpose: 'candidate', dueAt: Math.max(candidate.since, retryAt) };
}

/** The manager's way beside the agent's own: for settings that wait, and before a silence counts. */
function standbyOptions(facts: DialFacts, circumstances: Circumstances): Option[] {
  if (!isOnStandby(facts, circumstances.at)) return [];
  const notBefore = circumstances.ignoreFailures ? Number.NEGATIVE_INFINITY : standbyRetryAt(facts);
  const options: Option[] = [];
  if (isSettingsWaiting(facts) && !facts.isHeld)
    options.push({ purpose: 'settings', dueAt: Math.max(circumstances.at, notBefore) });
  // Results come by the agent's own connection.
  const commandsAt = facts.commands.areWaiting && !facts.isHeld ? commandsDueAt(facts) : Number.POSITIVE_INFINITY;
  if (Number.isFinite(commandsAt)) options.push({ purpose: 'commands', dueAt: Math.max(commandsAt, notBefore) });
  const overdueAt = overdueInstant(facts, circumstances.ledger);
  if (overdueAt !== undefined)
    options.push({ purpose: 'overdue', dueAt: hasFailedSilent(facts) ? Math.max(overdueAt, notBefore) : overdueAt });
  return options;
}

/** So that a way that works again is known before it is needed; an agent that leaves its listener is not dialled for it. */
function listenerOption(facts: DialFacts, { at, areListenersPutOff }: Circumstances): Option | undefined {
  const { failed, direction, isListening } = facts;
  if (!failed || !isListening || direction !== 'bidirectional') return undefined;
  const delay = LISTENER_RETRY_MS + backoffDelayMs(failed.count - 1, LISTENER_BACKOFF, chanceOf(facts, failed.count));
  const dueAt = failed.lastEndedAt + delay;
  return { purpose: 'listener', dueAt: areListenersPutOff ? Math.max(dueAt, at + LISTENER_PUT_OFF_MS) : dueAt };
}

/** What failed before the last report says nothing of this silence: each gets one dial that may explain it. */
function hasFailedSilent({ failed, lastSeenAt }: DialFacts): boolean {
  return failed !== null && (lastSeenAt === null || failed.lastEndedAt > lastSeenAt);
}

/** The old way stays usable for two intervals after a change of direction. */
function isOnStandby({ direction, directionSince, isListening, intervalMs }: DialFacts, at: FleetInstant): boolean {
  if (!isListening) return false;
  if (direction === 'agentInitiated') return directionSince !== null && at < directionSince + 2 * intervalMs;
  return direction === 'bidirectional';
}

/** Half a grace before the first miss falls; the agent's own heartbeat had the other half. */
function overdueInstant(
  { lastSeenAt, contactDueAt, intervalMs, desired }: DialFacts,
  ledger: Ledger,
): FleetInstant | undefined {
  if (lastSeenAt === null || contactDueAt === null) return undefined;
  const { graceMs } = desired;
  return missDeadline(1, { lastSeenAt, contactDueAt, intervalMs }, { graceMs, ledger }) - graceMs / 2;
}

/** A listener that cannot be reached is tried ever more rarely, down to once an hour. */
function standbyRetryAt(facts: DialFacts): FleetInstant {
  const { failed } = facts;
  if (!failed) return Number.NEGATIVE_INFINITY;
  const delay = backoffDelayMs(failed.count - 1, UNREACHABLE_BACKOFF, chanceOf(facts, failed.count));
  return failed.lastEndedAt + Math.max(SHORTEST_RETRY_MS, delay);
}

/** Settings that no answer carried yet and that the agent does not hold as a candidate. */
export function isSettingsWaiting(facts: DialFacts): boolean {
  const { appliedFingerprint, deliveredFingerprint, desired, candidate, lastSeenAt } = facts;
  const known = [appliedFingerprint, deliveredFingerprint, candidate?.fingerprint];
  return lastSeenAt !== null && !known.includes(desired.fingerprint);
}

/** The same for the same computer and failure, so that a second look comes to the same instant. */
function chanceOf({ computerId }: DialFacts, count: number): { fraction(): number } {
  return { fraction: () => phaseOf(`${computerId}/${count}`, FRACTIONS) / FRACTIONS };
}

export function laneOf({ failed }: DialFacts): DialLane {
  return failed?.lastResult === 'timeout' ? 'slow' : 'fast';
}

/** When a shard is taken up, what fell due while nobody dialled is spread over half an interval. */
export function catchUpAt(facts: DialFacts, decision: DialDecision, at: FleetInstant): FleetInstant {
  if (decision.kind === 'wait') return decision.until;
  if (decision.kind === 'forget' || decision.purpose !== 'heartbeat' || facts.lastSeenAt === null) return at;
  if (decision.dueAt > at - OVERDUE_MS) return at;
  return at + phaseOf(facts.computerId, Math.max(1, Math.min(facts.intervalMs / 2, LONGEST_CATCH_UP_MS)));
}

/**
 * How much later than the next contact due a computer is looked at: for one on standby the wait that its last look
 * found, so that a heartbeat on time costs no look.
 */
export function marginOf(facts: DialFacts): number {
  return isHeartbeatDialled(facts) ? 0 : facts.desired.graceMs / 2;
}
