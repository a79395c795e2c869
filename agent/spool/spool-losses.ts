import type { Lane } from '../../protocol/heartbeat-messages.js';
import type { Store, StoreOperation } from './durable-store.js';
import { ALL_TOLD_LOSSES, toldLossesKey } from './spool-keys.js';
import type { Gap, Segment } from './spool-lanes.js';

/** Consecutive sequences of one epoch of a lane that are not there. */
export interface Hole {
  readonly lane: Lane;
  readonly ordinal: number;
  readonly epoch: string;
  readonly from: number;
  readonly to: number;
}

type Range = readonly [from: number, to: number];

/** What one epoch of a lane has lost. */
export interface Loss {
  readonly gap: Gap;
  readonly ordinal: number;
  /** Those that were told before among them. */
  readonly told: readonly Range[];
}

/** By the key that they are stored under. */
export type ToldLosses = ReadonlyMap<string, readonly Range[]>;

export async function readToldLosses(store: Store): Promise<ToldLosses> {
  const told = new Map<string, readonly Range[]>();
  await store.scan(ALL_TOLD_LOSSES, (key, value) => {
    told.set(key, JSON.parse(value) as Range[]);
    return true;
  });
  return told;
}

/** Holes that are new, one loss for each epoch of a lane. */
export function lossesOf(holes: readonly Hole[], told: ToldLosses): Loss[] {
  const keyOf = ({ lane, ordinal }: Hole): string => toldLossesKey(lane, ordinal);
  return [...new Set(holes.map(keyOf))].flatMap((key) => {
    const own = holes.filter((hole) => keyOf(hole) === key);
    const known = told.get(key) ?? [];
    const fresh = own.flatMap(({ from, to }) => subtract([from, to], known));
    const [first] = own;
    if (!first || fresh.length === 0) return [];
    const { lane, ordinal, epoch } = first;
    const from = Math.min(...fresh.map(([begin]) => begin));
    const to = Math.max(...fresh.map(([, end]) => end));
    const gap = { lane, epoch, from, to, count: sizeOf(fresh) };
    return [{ gap, ordinal, told: [...known, ...fresh] }];
  });
}

/** The loss of single records that were taken out. */
export async function lossOfRecords(
  store: Store,
  { lane, ordinal, epoch }: Pick<Hole, 'lane' | 'ordinal' | 'epoch'>,
  sequences: readonly number[],
): Promise<Loss> {
  const told = JSON.parse((await store.get(toldLossesKey(lane, ordinal))) ?? '[]') as Range[];
  const gap = { lane, epoch, from: Math.min(...sequences), to: Math.max(...sequences), count: sequences.length };
  return { gap, ordinal, told: [...told, ...sequences.map((sequence): Range => [sequence, sequence])] };
}

/** Remembers that it is told, so that the next start does not find it again. */
export function toldOperation({ gap, ordinal, told }: Loss): StoreOperation {
  return { type: 'put', key: toldLossesKey(gap.lane, ordinal), value: JSON.stringify(told) };
}

/** What the end of an epoch has lost: stored and not acknowledged, and not among what the disk knows to be gone. */
export function tailOf(known: Segment, fresh: Segment): { readonly from: number; readonly to: number } | undefined {
  const from = Math.max(fresh.next, known.acknowledged + 1);
  return from < known.next ? { from, to: known.next - 1 } : undefined;
}

function subtract(range: Range, known: readonly Range[]): Range[] {
  return known.reduce<Range[]>(
    (rest, [from, to]) =>
      rest.flatMap(([begin, end]): Range[] => {
        if (to < begin || from > end) return [[begin, end]];
        return [...(begin < from ? [[begin, from - 1] as const] : []), ...(end > to ? [[to + 1, end] as const] : [])];
      }),
    [range],
  );
}

function sizeOf(ranges: readonly Range[]): number {
  return ranges.reduce((sum, [from, to]) => sum + to - from + 1, 0);
}
