import { createLedger, type Ledger, type Span } from './listening-ledger.js';
import type { Status } from './status-model.js';

/** A change of one computer's status as the history keeps it. */
export interface StatusChange {
  readonly status: Status;
  readonly previousStatus: Status;
  /** When the status began by the rule, which may be long before it was noticed. */
  readonly since: number;
  readonly noticedAt: number;
}

export interface StatusRecord {
  /** When the record of the computer was made. */
  readonly createdAt: number;
  /** The status that it has now: that of the whole range where there is no change after its begin. */
  readonly status: Status;
  /** Every change that began after the range's begin, in any order, up to one that began at its end or later. */
  readonly changes: readonly StatusChange[];
}

/** A time of one status. */
export interface Stretch extends Span {
  readonly status: Status;
}

/**
 * The statuses within a range from the making of the record on, in order and without holes; neighbours differ. A change
 * that was noticed later never begins before one that was noticed earlier: what was said once stands.
 */
export function stretchesOf(record: StatusRecord, range: Span): Stretch[] {
  const changes = inOrder(record.changes);
  const stretches: Stretch[] = [];
  let from = Math.max(range.from, record.createdAt);
  let status = changes[0]?.previousStatus ?? record.status;
  const close = (at: number): void => {
    const until = Math.min(at, range.until);
    if (until <= from) return;
    const last = stretches.at(-1);
    if (last?.status === status) stretches[stretches.length - 1] = { ...last, until };
    else stretches.push({ from, until, status });
    from = until;
  };
  for (const change of changes) {
    close(change.since);
    status = change.status;
  }
  close(range.until);
  return stretches;
}

/** As they were noticed; of several at one instant each follows the one whose status it ended. */
function inOrder(changes: readonly StatusChange[]): StatusChange[] {
  const ordered = changes.toSorted((a, b) => a.noticedAt - b.noticedAt || a.since - b.since);
  for (const [index, first] of ordered.entries()) {
    const together = ordered.slice(index, endOfRun(ordered, index));
    const next = together.find((change) => follows(change, ordered[index - 1], together)) ?? first;
    ordered[ordered.indexOf(next, index)] = first;
    ordered[index] = next;
  }
  return ordered;
}

/** The end of those that were noticed together with one and began together with it. */
function endOfRun(ordered: readonly StatusChange[], index: number): number {
  const { noticedAt, since } = ordered[index] ?? {};
  let end = index + 1;
  while (ordered[end]?.noticedAt === noticedAt && ordered[end]?.since === since) end += 1;
  return end;
}

/** At the very begin, the one whose status before none of the others made. */
function follows(change: StatusChange, before: StatusChange | undefined, together: readonly StatusChange[]): boolean {
  if (before) return change.previousStatus === before.status;
  return together.every(({ status }) => status !== change.previousStatus);
}

/** How the times of a range are told apart. */
export interface Accounting {
  /** Time outside of maintenance. */
  readonly outside: Ledger;
  /** Time that counts for the computer's status. */
  readonly counted: Ledger;
  readonly isMaintenanceExcluded: boolean;
}

export interface AccountingFacts {
  /** Times in which nobody listened. */
  readonly deaf: readonly Span[];
  readonly maintenance: readonly Span[];
  readonly isMaintenanceExcluded: boolean;
}

export function createAccounting({ deaf, maintenance, isMaintenanceExcluded }: AccountingFacts): Accounting {
  return {
    outside: createLedger(maintenance),
    counted: createLedger(isMaintenanceExcluded ? [...deaf, ...maintenance] : deaf),
    isMaintenanceExcluded,
  };
}

/** How each status is counted: what is named for a status is its time outside of what does not count. */
const MEMBERS = {
  online: 'onlineMs',
  late: 'lateMs',
  offline: 'offlineMs',
  stopped: 'stoppedMs',
  pending: 'pendingMs',
  revoked: 'revokedMs',
} as const satisfies Record<Status, string>;

type StatusMember = (typeof MEMBERS)[Status];

/**
 * What a computer, or several, did in a range; milliseconds. The times of the statuses, `notEnrolledMs`, `deafMs` and,
 * where it is excluded, `maintenanceMs` add up to `rangeMs`; where it is not, maintenance is counted a second time.
 */
export interface Availability extends Readonly<Record<StatusMember, number>> {
  readonly computers: number;
  readonly rangeMs: number;
  /** Before the record was made. */
  readonly notEnrolledMs: number;
  readonly deafMs: number;
  readonly maintenanceMs: number;
  /** Unbroken times offline of which any part counts. */
  readonly outages: number;
  readonly longestOutageMs: number;
  /** Outages that ended within the range by the computer's return, and what counts of them. */
  readonly repairs: number;
  readonly repairMs: number;
}

export const NO_AVAILABILITY: Availability = Object.freeze({
  computers: 0,
  rangeMs: 0,
  onlineMs: 0,
  lateMs: 0,
  offlineMs: 0,
  stoppedMs: 0,
  pendingMs: 0,
  revokedMs: 0,
  notEnrolledMs: 0,
  deafMs: 0,
  maintenanceMs: 0,
  outages: 0,
  longestOutageMs: 0,
  repairs: 0,
  repairMs: 0,
});

type Sum = { -readonly [K in keyof Availability]: Availability[K] };

/** The sums of one computer, from its stretches within the range. */
export function availabilityOf(stretches: readonly Stretch[], range: Span, accounting: Accounting): Availability {
  const begin = stretches[0]?.from ?? range.until;
  const sum: Sum = { ...NO_AVAILABILITY, computers: 1, rangeMs: range.until - range.from };
  sum.notEnrolledMs = begin - range.from;
  for (const [index, stretch] of stretches.entries()) {
    const countedMs = timeIn(accounting.counted, stretch);
    const lengthMs = stretch.until - stretch.from;
    const maintainedMs = lengthMs - timeIn(accounting.outside, stretch);
    sum[MEMBERS[stretch.status]] += countedMs;
    sum.maintenanceMs += maintainedMs;
    sum.deafMs += lengthMs - countedMs - (accounting.isMaintenanceExcluded ? maintainedMs : 0);
    if (stretch.status === 'offline' && countedMs > 0) addOutage(sum, countedMs, stretches[index + 1]);
  }
  return sum;
}

function timeIn({ listeningAt }: Ledger, { from, until }: Span): number {
  return listeningAt(until) - listeningAt(from);
}

function addOutage(sum: Sum, countedMs: number, next: Stretch | undefined): void {
  sum.outages += 1;
  sum.longestOutageMs = Math.max(sum.longestOutageMs, countedMs);
  if (next?.status !== 'online' && next?.status !== 'late') return;
  sum.repairs += 1;
  sum.repairMs += countedMs;
}

/** Of two disjoint sets of computers over the same range. */
export function addAvailability(one: Availability, other: Availability): Availability {
  const sum: Sum = { ...one };
  for (const key of Object.keys(NO_AVAILABILITY) as (keyof Availability)[]) sum[key] += other[key];
  sum.longestOutageMs = Math.max(one.longestOutageMs, other.longestOutageMs);
  return sum;
}

/** Percent are told to this part of one. */
const PARTS = 10_000;

/**
 * (online + late) / (online + late + offline) in percent: late is within what the policy allows. Never rounded up: 100
 * means that there was no outage. Null where none of the three occurs.
 */
export function availabilityPercent({ onlineMs, lateMs, offlineMs }: Availability): number | null {
  const available = onlineMs + lateMs;
  const counted = available + offlineMs;
  if (counted === 0) return null;
  const most = offlineMs > 0 ? 100 - 1 / PARTS : 100;
  return Math.min(most, Math.floor((available * 100 * PARTS) / counted) / PARTS);
}

/** The mean time to repair, of the outages that ended by the computer's return. */
export function meanRepairMs({ repairs, repairMs }: Availability): number | null {
  return repairs === 0 ? null : repairMs / repairs;
}
