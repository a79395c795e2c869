/**
 * Whose clock is wrong, the agents' or the manager's? One agent cannot tell; many can: clocks that are wrong by
 * themselves are wrong each by something else, and what all of them show at once the manager has done. Milliseconds.
 */

/** What was last heard of one computer's clock. */
export interface HeardClock {
  readonly computerId: string;
  /** Fleet instant of the report. */
  readonly heardAt: number;
  /** How often it reports. */
  readonly intervalMs: number;
  /** As nearly as is known at that report: the agent's clock less the fleet clock. */
  readonly aheadMs: number;
  /** What it seems to have moved by since `knownAt`; null where nothing was known. */
  readonly movedMs: number | null;
  readonly knownAt: number | null;
  /** How far `aheadMs` and `movedMs` may be beside it. */
  readonly errorMs: number;
  /** What the agent itself told of steps with this report: those the manager has not done. */
  readonly toldMs: number;
}

/** What most computers have in common. */
export interface Majority {
  readonly aheadMs: number;
  readonly computers: number;
  readonly of: number;
}

/** Two may be set at the same moment, three seldom are. */
const FEWEST_AT_ONCE = 3;
/** A few may be made from one image, with one fault. */
export const FEWEST_TOGETHER = 5;
const MAJORITY_SHARE = 2 / 3;
/** Clocks that are kept in order differ by less. */
const TOGETHER_MS = 2000;
/** Of a step, beside the errors: a part of it where the step itself is small. */
const ALIKE_SHARE = 1 / 3;

/** The offset at which more than two thirds of the computers stand together; null where they do not. */
export function majorityOf(heard: readonly HeardClock[]): Majority | null {
  const offsets = heard.map(({ aheadMs }) => aheadMs).toSorted((a, b) => a - b);
  const of = offsets.length;
  let [from, computers] = [0, 0];
  let low = 0;
  for (const [high, aheadMs] of offsets.entries()) {
    while (aheadMs - (offsets[low] ?? aheadMs) > 2 * TOGETHER_MS) low += 1;
    if (high - low + 1 > computers) [from, computers] = [low, high - low + 1];
  }
  const aheadMs = offsets[from + (computers >>> 1)];
  const isMajority = computers >= FEWEST_TOGETHER && computers > of * MAJORITY_SHARE;
  return aheadMs !== undefined && isMajority ? { aheadMs, computers, of } : null;
}

/** A change of one computer's offset that lies between two fleet instants. */
export interface SuspectChange {
  readonly computerId: string;
  readonly byMs: number;
  readonly errorMs: number;
  readonly from: number;
  readonly until: number;
}

/** A change that many computers show at once. */
export interface CommonChange {
  readonly byMs: number;
  readonly computers: number;
  readonly of: number;
  /** It lies between these two fleet instants. */
  readonly from: number;
  readonly until: number;
}

/**
 * Whether the manager has made a change: whoever was watched while it happened must show it too. `heard` says of the other
 * computers what they moved by and since when; who told a step itself has made it, whoever else moved.
 */
export function commonChangeOf(change: SuspectChange, heard: readonly HeardClock[]): CommonChange | null {
  const others = heard.filter(({ computerId }) => computerId !== change.computerId);
  const alike = others.filter((other) => overlaps(other, change) && isAlike(other, change));
  const from = Math.max(change.from, ...alike.map(({ knownAt }) => knownAt ?? change.from));
  const until = Math.min(change.until, ...alike.map(({ heardAt }) => heardAt));
  if (until < from) return null;
  const unlike = others.filter((other) => spans(other, { from, until }) && !isAlike(other, change));
  const computers = alike.length + 1;
  const of = computers + unlike.length;
  const isCommon = computers >= FEWEST_AT_ONCE && computers > of * MAJORITY_SHARE;
  return isCommon ? { byMs: change.byMs, computers, of, from, until } : null;
}

function overlaps({ knownAt, heardAt }: HeardClock, { from, until }: SuspectChange): boolean {
  return knownAt !== null && knownAt < until && heardAt > from;
}

function spans({ knownAt, heardAt }: HeardClock, { from, until }: { readonly from: number; readonly until: number }) {
  return knownAt !== null && knownAt <= from && heardAt >= until;
}

function isAlike({ movedMs, errorMs, toldMs }: HeardClock, change: SuspectChange): boolean {
  return movedMs !== null && isSameSize(movedMs - toldMs, { ...change, errorMs: change.errorMs + errorMs });
}

/** Whether two changes may be one, by their size. */
export function isSameSize(otherMs: number, { byMs, errorMs }: Pick<SuspectChange, 'byMs' | 'errorMs'>): boolean {
  return Math.abs(otherMs - byMs) <= Math.min(TOGETHER_MS + errorMs, Math.abs(byMs) * ALIKE_SHARE);
}
