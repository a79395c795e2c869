import type { DialFacts } from './dial-rules.js';
import { missDeadline, missesBy, silenceDeadline, type ContactFacts } from './heartbeat-rules.js';
import type { Ledger } from './listening-ledger.js';
import { UNLIMITED, type Unlimited } from './setting-values.js';
import { goodbyeStatusReason, type GoodbyeReason, type PowerState } from './status-model.js';
import type { Status, StatusReason } from './status-model.js';

const NEVER = Number.POSITIVE_INFINITY;

/** What is known of one computer; instants in fleet milliseconds. */
export interface VerdictFacts extends ContactFacts {
  readonly everSeen: boolean;
  /** The last receipt; for one never seen, the instant its record was made. */
  readonly lastSeenAt: number;
  /** Null unless `managerInitiated` is in force at the agent. */
  readonly dials: DialFacts | null;
  /** Why the manager's dial of one that dials itself failed since the last report; explains, and no miss counts by it. */
  readonly standbyReason?: StatusReason | null;
  /** Counts only until a later report: `expectedBackMs` is a duration from the receipt. */
  readonly goodbye: {
    readonly reason: GoodbyeReason;
    readonly receivedAt: number;
    readonly expectedBackMs: number | null;
  } | null;
  /**
   * Counts only until a later report, which means running. For `running` and `unknown`, `since` is the end of the stop
   * before it, so writing the same state again must not move it.
   */
  readonly power: { readonly state: PowerState; readonly since: number; readonly expiresAt: number | null };
  readonly revokedAt: number | null;
  /** Since when the rules below, as they now are, count for this computer: the last edit of them, or its last move. */
  readonly rulesSince: number;
}

export interface VerdictRules {
  readonly missedAllowed: number | Unlimited;
  readonly graceMs: number;
  readonly offlineAlertForStoppedVm: boolean;
  readonly goodbyeToleranceMs: number;
}

export interface Verdict {
  readonly status: Status;
  /** When the status began by the rule (the deadline that passed), not when it was noticed. */
  readonly since: number;
  readonly reason: StatusReason;
  /** How many misses have fallen; alone it is no change of the verdict. */
  readonly missed: number;
  /**
   * When the offline alert was or, without a further report, will be raised; null for never. Where it still needs a dial
   * of the manager that fails, this is the earliest instant that the silence allows, and it may have passed.
   */
  readonly offlineAt: number | null;
  /** The computer-offline alert that is due at the instant asked for; `raisedAt` equals `offlineAt`. */
  readonly alert: { readonly raisedAt: number; readonly reason: StatusReason } | null;
  /** The next instant at which anything above but `missed` differs by time alone; Infinity if none. */
  readonly nextChangeAt: number;
  /** From when a failed dial of the manager is all that the next status or alert lacks; Infinity if none does. */
  readonly dialNeededFrom: number;
}

export interface Question {
  readonly facts: VerdictFacts;
  readonly rules: VerdictRules;
  readonly ledger: Ledger;
}

type Answer = Omit<Verdict, 'missed' | 'nextChangeAt' | 'dialNeededFrom'>;

/** The instants that do not depend on the one asked for. */
interface Deadlines {
  readonly late: number;
  /** Infinity where absence is unlimited. */
  readonly offline: number;
  /** The receipt of a goodbye before uninstalling, else Infinity. */
  readonly uninstalled: number;
  /** `late` and `offline` if every dial that they need fails in time. */
  readonly earliestLate: number;
  readonly earliestOffline: number;
  readonly goodbye: StatusReason | null;
  /** Why the manager's dials fail, where that is known. */
  readonly dialReason: StatusReason | null;
}

/** The verdict about one computer at a fleet instant: status, alert and the next instant at which it changes. */
export function judge({ facts, rules, ledger }: Question, at: number): Verdict {
  if (facts.revokedAt !== null) return settled('revoked', facts.revokedAt, 'revoked');
  if (!facts.everSeen) return settled('pending', facts.lastSeenAt, 'never-seen');
  const deadlines = deadlinesOf({ facts, rules, ledger });
  const answerAt = (instant: number): Answer => answer({ facts, rules, deadlines }, instant);
  const present = answerAt(at);
  const missed = deadlines.late > at ? 0 : missesBy(at, facts, { graceMs: rules.graceMs, ledger });
  const nextChangeAt = nextChange({ facts, deadlines, present, answerAt }, at);
  const isExcused = present.status === 'stopped' && !rules.offlineAlertForStoppedVm;
  return { ...present, missed, nextChangeAt, dialNeededFrom: isExcused ? NEVER : dialNeededFrom(deadlines) };
}

function dialNeededFrom({ late, earliestLate, offline, earliestOffline, uninstalled }: Deadlines): number {
  if (uninstalled !== NEVER) return NEVER;
  if (late === NEVER) return earliestLate;
  return offline === NEVER ? earliestOffline : NEVER;
}

function settled(status: Status, since: number, reason: StatusReason): Verdict {
  const never = { nextChangeAt: NEVER, dialNeededFrom: NEVER };
  return { status, since, reason, missed: 0, offlineAt: null, alert: null, ...never };
}

function standingGoodbye({ goodbye, lastSeenAt }: VerdictFacts): VerdictFacts['goodbye'] {
  return goodbye && goodbye.receivedAt >= lastSeenAt ? goodbye : null;
}

function deadlinesOf({ facts, rules, ledger }: Question): Deadlines {
  const goodbye = standingGoodbye(facts);
  const allowed = rules.missedAllowed === UNLIMITED ? NEVER : rules.missedAllowed;
  const deadlineRules = { graceMs: rules.graceMs, ledger };
  const extended = (normal: number) => Math.max(normal, goodbye ? expectedBackAt(goodbye, rules, ledger) : normal);
  const offlineBy = (deadline: typeof missDeadline) =>
    extended(allowed === NEVER ? NEVER : deadline(allowed + 1, facts, deadlineRules));
  const late = missDeadline(1, facts, deadlineRules);
  const offline = offlineBy(missDeadline);
  return {
    late,
    offline,
    uninstalled: goodbye?.reason === 'uninstall' ? goodbye.receivedAt : NEVER,
    earliestLate: facts.dials ? silenceDeadline(1, facts, deadlineRules) : late,
    earliestOffline: facts.dials ? offlineBy(silenceDeadline) : offline,
    goodbye: goodbye && goodbyeStatusReason(goodbye.reason),
    dialReason: (facts.dials ? facts.dials.reason : facts.standbyReason) ?? null,
  };
}

/** Until when an announced restart or update extends the offline deadline, in listening time. */
function expectedBackAt(goodbye: NonNullable<VerdictFacts['goodbye']>, rules: VerdictRules, ledger: Ledger): number {
  if (goodbye.reason !== 'restart' && goodbye.reason !== 'update') return Number.NEGATIVE_INFINITY;
  const announced = Math.min(goodbye.expectedBackMs ?? rules.goodbyeToleranceMs, rules.goodbyeToleranceMs);
  return ledger.earliestAt(ledger.listeningAt(goodbye.receivedAt) + announced);
}

interface Case {
  readonly facts: VerdictFacts;
  readonly rules: VerdictRules;
  readonly deadlines: Deadlines;
}

function answer({ facts, rules, deadlines }: Case, at: number): Answer {
  const { stopped, excusedUntil } = powerAt(facts, at);
  const allowedUntil = Math.max(facts.rulesSince, excusedUntil);
  const raiseBy = (offline: number) =>
    Math.min(
      deadlines.uninstalled,
      Math.max(offline, rules.offlineAlertForStoppedVm ? facts.rulesSince : allowedUntil),
    );
  const raiseAt = raiseBy(deadlines.offline);
  const shownAt = raiseAt === NEVER ? raiseBy(deadlines.earliestOffline) : raiseAt;
  const shared = {
    offlineAt: Number.isFinite(shownAt) ? shownAt : null,
    alert: alertAt(at, raiseAt, { stopped, deadlines }),
  };
  if (stopped) return { status: 'stopped', since: facts.power.since, reason: 'power-stopped', ...shared };
  const offlineFrom = Math.max(
    Math.min(deadlines.uninstalled, Math.max(deadlines.offline, facts.rulesSince)),
    excusedUntil,
  );
  if (at >= offlineFrom) return { status: 'offline', since: offlineFrom, reason: silenceReason(deadlines), ...shared };
  const lateFrom = Math.max(deadlines.late, allowedUntil);
  if (at >= lateFrom) return { status: 'late', since: lateFrom, reason: lateReason(rules, deadlines), ...shared };
  const onlineFrom = [facts.rulesSince, excusedUntil].filter((instant) => instant <= at);
  return { status: 'online', since: Math.max(facts.lastSeenAt, ...onlineFrom), reason: 'in-contact', ...shared };
}

/** Whether the machine counts as stopped, and until when its power state excused or excuses its silence. */
function powerAt({ power, lastSeenAt }: VerdictFacts, at: number): { stopped: boolean; excusedUntil: number } {
  if (power.since > at || power.since < lastSeenAt) return { stopped: false, excusedUntil: Number.NEGATIVE_INFINITY };
  if (power.state !== 'stopped') return { stopped: false, excusedUntil: power.since };
  const excusedUntil = power.expiresAt ?? NEVER;
  return { stopped: at < excusedUntil, excusedUntil };
}

interface Silence {
  readonly stopped: boolean;
  readonly deadlines: Deadlines;
}

function alertAt(at: number, raisedAt: number, { stopped, deadlines }: Silence): Verdict['alert'] {
  if (at < raisedAt) return null;
  return { raisedAt, reason: stopped && !deadlines.goodbye ? 'power-stopped' : silenceReason(deadlines) };
}

/** What the agent said comes before what was seen of it. */
function silenceReason({ goodbye, dialReason }: Deadlines): StatusReason {
  return goodbye ?? dialReason ?? 'unknown';
}

function lateReason({ missedAllowed }: VerdictRules, { goodbye, dialReason }: Deadlines): StatusReason {
  if (missedAllowed === UNLIMITED) return 'absence-allowed';
  return goodbye ?? dialReason ?? 'heartbeat-missed';
}

interface Outlook {
  readonly facts: VerdictFacts;
  readonly deadlines: Deadlines;
  readonly present: Answer;
  readonly answerAt: (instant: number) => Answer;
}

/** The answer is constant between these instants, so the first of them at which it differs is the next change. */
function nextChange({ facts, deadlines, present, answerAt }: Outlook, at: number): number {
  const { late, offline, uninstalled } = deadlines;
  const { since, expiresAt } = facts.power;
  const instants = [late, offline, uninstalled, facts.rulesSince, since, expiresAt ?? NEVER]
    .filter((instant) => instant > at && instant < NEVER)
    .sort((a, b) => a - b);
  return instants.find((instant) => !isSameAnswer(present, answerAt(instant))) ?? NEVER;
}

function isSameAnswer(a: Answer, b: Answer): boolean {
  return (
    a.status === b.status &&
    a.since === b.since &&
    a.reason === b.reason &&
    a.offlineAt === b.offlineAt &&
    a.alert?.raisedAt === b.alert?.raisedAt &&
    a.alert?.reason === b.alert?.reason
  );
}
