import { FLEET, specificityOf } from './incident-factors.js';

/** In percent. At this share of those with a common factor, and not with fewer than `FEWEST_SILENT`, silence is one incident. */
export const PERCENT_TO_OPEN = 55;
export const FEWEST_SILENT = 3;
/** In percent. Below this share an incident is over; those still silent are on their own. */
export const PERCENT_TO_END = 25;

const SHORTEST_WINDOW_MS = 300_000;
const WINDOW_INTERVALS = 2;
/** So many more specific outages may stand for one that they explain better. */
const MOST_PARTS = 3;
/** Of one look; what is left then waits for the next. */
const MOST_OUTAGES = 32;

/**
 * How long after it fell silent a computer counts as one of those that fell silent together: what cuts off all at once
 * shows of the last one an interval after it shows of the first.
 */
export function silenceWindowMs(intervalMs: number): number {
  return Math.max(WINDOW_INTERVALS * intervalMs, SHORTEST_WINDOW_MS);
}

/** Whether so many silent ones out of `of` are one incident. */
export function isMassOutage(silent: number, of: number): boolean {
  return silent >= FEWEST_SILENT && 100 * silent >= PERCENT_TO_OPEN * of;
}

/** Whether an open incident with so many still silent out of `of` is over. */
export function isIncidentOver(silent: number, of: number): boolean {
  return silent < FEWEST_SILENT || 100 * silent < PERCENT_TO_END * of;
}

/** When the share that makes an incident was reached: the silence of the computer that filled it. `silences` not empty. */
export function outageBeganAt(silences: readonly number[], of: number): number {
  const needed = Math.max(FEWEST_SILENT, Math.ceil((PERCENT_TO_OPEN * of) / 100));
  const inOrder = silences.toSorted((a, b) => a - b);
  return inOrder[Math.min(needed, inOrder.length) - 1] ?? Number.NaN;
}

/** Silent computers that share all their factors and are held by the same incident, or by none. */
export interface SilentGroup {
  readonly factors: readonly string[];
  readonly incidentId: string | null;
  readonly silent: number;
}

/** A factor, how many silent computers it explains, and how many others have it and are in contact all the same. */
export interface Outage {
  readonly factor: string;
  readonly explained: number;
  readonly exceptions: number;
}

/** How many computers with the factor are in contact. */
export type AliveOf = (factor: string) => number;

/**
 * Names what the silent computers have in common: the factor that explains most of them less its exceptions, of equal
 * ones the most specific; then, of those that it does not explain, the next. A factor that every computer has says no
 * more than `fleet`. Up to three more specific outages stand for a wider one that they explain with fewer exceptions.
 */
export function nameOutages(groups: readonly SilentGroup[], aliveOf: AliveOf): Outage[] {
  return nameWithGroups(groups, aliveOf).map(({ outage }) => outage);
}

interface Named {
  readonly outage: Outage;
  /** What it explains, and none before it. */
  readonly groups: readonly SilentGroup[];
}

function nameWithGroups(groups: readonly SilentGroup[], aliveOf: AliveOf): Named[] {
  const named: Named[] = [];
  let rest = withCandidates(groups, aliveOf);
  while (named.length < MOST_OUTAGES) {
    const best = strongest(rest, aliveOf);
    if (!best) break;
    for (const outage of partsOf(best, rest, aliveOf)) {
      const explained = explainedGroups(rest, outage);
      named.push({ outage: { ...outage, explained: silentIn(explained) }, groups: explained });
      rest = unexplainedGroups(rest, outage);
    }
  }
  return named;
}

/**
 * The groups by the factors that may be named, which are few: what is no outage of all that are silent is none of some
 * of them.
 */
function withCandidates(groups: readonly SilentGroup[], aliveOf: AliveOf): readonly SilentGroup[] {
  const explained = explainedBy(groups);
  const isLikeFleet = (factor: string) =>
    factor !== FLEET && explained.get(factor) === explained.get(FLEET) && aliveOf(factor) === aliveOf(FLEET);
  const candidates = new Set<string>();
  for (const [factor, silent] of explained)
    if (isMassOutage(silent, silent + aliveOf(factor)) && !isLikeFleet(factor)) candidates.add(factor);
  const merged = new Map<string, SilentGroup>();
  for (const { factors, incidentId, silent } of groups) {
    const named = factors.filter((factor) => candidates.has(factor));
    const key = JSON.stringify([incidentId, named]);
    merged.set(key, { factors: named, incidentId, silent: silent + (merged.get(key)?.silent ?? 0) });
  }
  return [...merged.values()];
}

const silentIn = (groups: readonly SilentGroup[]): number => groups.reduce((sum, { silent }) => sum + silent, 0);

function explainedBy(groups: readonly SilentGroup[]): ReadonlyMap<string, number> {
  const explained = new Map<string, number>();
  for (const { factors, silent } of groups)
    for (const factor of factors) explained.set(factor, (explained.get(factor) ?? 0) + silent);
  return explained;
}

function strongest(groups: readonly SilentGroup[], aliveOf: AliveOf): Outage | undefined {
  let best: Outage | undefined;
  for (const [factor, explained] of explainedBy(groups)) {
    const exceptions = aliveOf(factor);
    if (!isMassOutage(explained, explained + exceptions)) continue;
    const outage = { factor, explained, exceptions };
    if (!best || compareOutages(outage, best) < 0) best = outage;
  }
  return best;
}

const scoreOf = ({ explained, exceptions }: Outage): number => explained - exceptions;

/** Negative when `a` is the better name. */
function compareOutages(a: Outage, b: Outage): number {
  const byScore = scoreOf(b) - scoreOf(a);
  const bySpecificity = specificityOf(a.factor) - specificityOf(b.factor);
  return byScore || bySpecificity || (a.factor < b.factor ? -1 : 1);
}

/** The outage itself, or the few that together score more than it does. */
function partsOf(outage: Outage, groups: readonly SilentGroup[], aliveOf: AliveOf): readonly Outage[] {
  let rest = withoutFactor(explainedGroups(groups, outage), outage);
  const parts: Outage[] = [];
  while (parts.length < MOST_PARTS) {
    const part = strongest(rest, aliveOf);
    if (!part) break;
    parts.push(part);
    rest = unexplainedGroups(rest, part);
  }
  const score = parts.reduce((sum, part) => sum + scoreOf(part), 0);
  return score > scoreOf(outage) ? parts : [outage];
}

function withoutFactor(groups: readonly SilentGroup[], { factor }: Outage): readonly SilentGroup[] {
  return groups.map((group) => ({ ...group, factors: group.factors.filter((one) => one !== factor) }));
}

function explainedGroups(groups: readonly SilentGroup[], { factor }: Outage): readonly SilentGroup[] {
  return groups.filter(({ factors }) => factors.includes(factor));
}

function unexplainedGroups(groups: readonly SilentGroup[], { factor }: Outage): readonly SilentGroup[] {
  return groups.filter(({ factors }) => !factors.includes(factor));
}

export interface OpenIncident {
  readonly id: string;
  readonly factor: string;
}

/** One incident takes the place of others: the first of `incidentIds` is kept and becomes `into`. */
export interface Widening {
  readonly into: Outage;
  readonly incidentIds: readonly [string, ...string[]];
}

export interface Revision {
  readonly opened: readonly Outage[];
  readonly widened: readonly Widening[];
}

/**
 * What becomes of the open incidents, oldest first, now that `groups` are silent: those they hold and those that fell
 * silent since. An incident is replaced where an outage explains most of what it holds and as much more as would be an
 * incident of its own, or several incidents; nothing is opened beside it then. One that is still named as it is stays, and
 * none is ever narrowed.
 */
export function reviseIncidents(
  open: readonly OpenIncident[],
  groups: readonly SilentGroup[],
  aliveOf: AliveOf,
): Revision {
  const revision: { opened: Outage[]; widened: Widening[] } = { opened: [], widened: [] };
  const held = heldBy(groups);
  let left = open;
  const named = nameWithGroups(groups, aliveOf);
  const names = new Set(named.map(({ outage }) => outage.factor));
  for (const { outage, groups: explained } of named) {
    const inside = heldBy(explained);
    const isReplaced = ({ id, factor }: OpenIncident) =>
      factor === outage.factor || (!names.has(factor) && 2 * (inside.get(id) ?? 0) > (held.get(id) ?? 0));
    const [first, ...others] = keptFirst(left.filter(isReplaced), outage.factor);
    left = left.filter((incident) => !isReplaced(incident));
    if (others.length === 0 && (inside.get(null) ?? 0) < FEWEST_SILENT) continue;
    if (first === undefined) revision.opened.push(outage);
    else revision.widened.push({ into: outage, incidentIds: [first, ...others] });
  }
  return revision;
}

/** An incident of that very factor stays; else the oldest does. */
function keptFirst(incidents: readonly OpenIncident[], factor: string): string[] {
  const isSame = (incident: OpenIncident) => incident.factor === factor;
  return [...incidents.filter(isSame), ...incidents.filter((one) => !isSame(one))].map(({ id }) => id);
}

function heldBy(groups: readonly SilentGroup[]): ReadonlyMap<string | null, number> {
  const held = new Map<string | null, number>();
  for (const { incidentId, silent } of groups) held.set(incidentId, (held.get(incidentId) ?? 0) + silent);
  return held;
}
