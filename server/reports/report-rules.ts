import { parseRfc3339 } from '../../lib/clock.js';
import type { FieldError } from '../../lib/problem.js';
import { isPlainObject } from '../../lib/schema.js';
import { isRehearsed, REHEARSED_KEYS } from '../../policies/rehearsal-rules.js';
import { isSettingKey } from '../../policies/settings-catalogue.js';
import { settingsPatchFaults } from '../../policies/settings-patch.js';

export const DAY_MS = 86_400_000;
/** Twice what is kept; longer ones are mistakes. */
export const RANGE_DAYS_MAX = 800;

export interface AskedRange {
  readonly from: number;
  readonly to: number;
}

/** What is wrong with a range of wall instants, at every field that is concerned. */
export function rangeFaults({ from, to }: AskedRange, now: number): FieldError[] {
  const faults: FieldError[] = [];
  const name = (field: 'from' | 'to', detail: string) => void faults.push({ pointer: `#/${field}`, detail });
  if (from >= now) name('from', 'must be in the past');
  if (to > now) name('to', 'must not be in the future');
  if (from >= to) {
    name('from', 'must be before to');
    name('to', 'must be after from');
  }
  if (to - from > RANGE_DAYS_MAX * DAY_MS)
    for (const field of ['from', 'to'] as const) name(field, `must leave a range of at most ${RANGE_DAYS_MAX} days`);
  return faults;
}

/** What PATCH would refuse of the settings, and every one that no alert rests on. */
export function rehearsalFaults(settings: unknown, pointer: string): readonly FieldError[] {
  const detail = `no offline alert rests on it; those that can be rehearsed are ${REHEARSED_KEYS.join(', ')}`;
  const keys = isPlainObject(settings) ? Object.keys(settings) : [];
  const vain = keys.filter((key) => isSettingKey(key) && !isRehearsed(key));
  const refused = settingsPatchFaults(settings, pointer);
  return [...vain.map((key) => ({ pointer: `${pointer}/${key}`, detail })), ...refused];
}

/** The wall instant from which on daily partitions are kept, in a table that keeps whole days. */
export function keptFrom(trustedNow: number, days: number): number {
  return Math.floor((trustedNow - days * DAY_MS) / DAY_MS) * DAY_MS;
}

export interface GroupFields {
  /** By computer unless given. */
  readonly groupBy?: 'computer' | 'policy' | 'label' | undefined;
  readonly key?: string | undefined;
  readonly cursor?: string | undefined;
  readonly sort?: string | undefined;
}

/** What does not go with the way of grouping. */
export function groupFaults({ groupBy = 'computer', key, cursor, sort }: GroupFields): FieldError[] {
  const faults: FieldError[] = [];
  if (groupBy === 'label' && key === undefined)
    faults.push({ pointer: '#/key', detail: 'is required with groupBy=label: the label whose values are the groups' });
  if (groupBy !== 'label' && key !== undefined)
    faults.push({ pointer: '#/key', detail: 'goes with groupBy=label only' });
  return [...faults, ...pagingFaults({ groupBy, cursor, sort })];
}

/** What pages only a list of computers. */
export function pagingFaults({ groupBy = 'computer', cursor, sort }: Omit<GroupFields, 'key'>): FieldError[] {
  if (groupBy === 'computer') return [];
  return Object.entries({ cursor, sort })
    .filter(([, value]) => value !== undefined)
    .map(([field]) => ({ pointer: `#/${field}`, detail: 'goes with groupBy=computer only' }));
}

/** What is wrong with the range of a query, as far as its ends are instants; without `to` it ends now. */
export function queryRangeFaults(
  { from, to }: { readonly from?: string; readonly to?: string },
  { now, isSound }: { readonly now: number; readonly isSound: (pointer: string) => boolean },
): FieldError[] {
  const end = isSound('#/to') && to === undefined ? now : instantOf(to);
  return rangeFaults({ from: instantOf(from), to: end }, now);
}

/** Not a number, and so neither before nor after anything, for what is none. */
function instantOf(text: string | undefined): number {
  return parseRfc3339(text ?? '') ?? Number.NaN;
}

/** `Accept` counts where the format is not asked for. */
export function formatOf(format: string | undefined, accept: string | undefined): 'json' | 'csv' {
  if (format !== undefined) return format === 'csv' ? 'csv' : 'json';
  const types = (accept ?? '')
    .toLowerCase()
    .split(/[,;]/)
    .map((part) => part.trim());
  return types.includes('text/csv') && !types.includes('application/json') ? 'csv' : 'json';
}

/** Adds each policy's sum to those above it, as far up as the policies that are shown reach. */
export function rollUp<Sum>(
  policies: readonly { readonly id: string; readonly parentId: string | null }[],
  own: ReadonlyMap<string, Sum>,
  add: (one: Sum, other: Sum) => Sum,
): ReadonlyMap<string, Sum> {
  const shown = new Map(policies.map((policy) => [policy.id, policy]));
  const sums = new Map<string, Sum>();
  for (const [policyId, sum] of own)
    for (let above = shown.get(policyId); above; above = shown.get(above.parentId ?? '')) {
      const known = sums.get(above.id);
      sums.set(above.id, known === undefined ? sum : add(known, sum));
    }
  return sums;
}
