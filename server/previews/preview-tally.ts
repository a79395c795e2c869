import { OUTCOME, OUTCOME_NAMES, SAMPLED_OUTCOMES, type OutcomeName, type SampledOutcome } from './preview-rules.js';
import { SAMPLE_MAX } from './preview.js';

/** How many computers have each outcome, and the first few of them by id. */
export interface Tally {
  readonly counts: Record<OutcomeName, number>;
  readonly samples: Record<SampledOutcome, string[]>;
}

export function emptyTally(): Tally {
  return {
    counts: { presentLate: 0, presentOffline: 0, late: 0, offline: 0, steadyLate: 0, steadyOffline: 0 },
    samples: { late: [], offline: [], steadyLate: [], steadyOffline: [] },
  };
}

/** Counts one more computer; ids come in ascending order. */
export function tallyOutcome({ counts, samples }: Tally, computerId: () => string, outcome: number): void {
  if (outcome === 0) return;
  for (const name of OUTCOME_NAMES) if ((outcome & OUTCOME[name]) !== 0) counts[name] += 1;
  for (const name of SAMPLED_OUTCOMES)
    if ((outcome & OUTCOME[name]) !== 0 && samples[name].length < SAMPLE_MAX) samples[name].push(computerId());
}

/** Of two disjoint sets of computers. */
export function addTallies(one: Tally, other: Tally): Tally {
  const sum = emptyTally();
  for (const name of OUTCOME_NAMES) sum.counts[name] = one.counts[name] + other.counts[name];
  for (const name of SAMPLED_OUTCOMES)
    sum.samples[name] = [...one.samples[name], ...other.samples[name]].toSorted().slice(0, SAMPLE_MAX);
  return sum;
}
