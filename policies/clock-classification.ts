import { isZoneFault } from './clock-rules.js';
import { certainPpm, FREQUENCY_TOLERANCE, type ClockDrift, type ClockEstimate } from './clock-samples.js';

/**
 * What a computer's clock is taken for, at this instant. `in-order`: beside the manager's by no more than a clock that is
 * looked after. `step`: it was set. `time-zone-or-dst`: beside by a multiple of a quarter of an hour. `steady-drift`: it runs
 * too fast or too slow. `suspend`: it stood still with its computer. `manager-step`: the manager's own clock is, or was,
 * the wrong one. `standing-offset`: it stands beside, and nobody saw how it came to.
 */
export const CLOCK_CLASSES = [
  'in-order',
  'step',
  'time-zone-or-dst',
  'steady-drift',
  'suspend',
  'manager-step',
  'standing-offset',
  'unknown',
] as const;
export type ClockClass = (typeof CLOCK_CLASSES)[number];

/** A change of the clock, whoever told of it; fleet instants. */
export interface KnownStep {
  /** `manager-step`: the manager's own clock was moved, which most computers show. */
  readonly kind: 'step' | 'suspend' | 'manager-step';
  /** Who found it. */
  readonly source: 'agent' | 'manager';
  readonly from: number;
  readonly until: number;
  readonly byMs: number;
}

/** What the manager knows of its own clock. */
export interface ManagerClock {
  /** What its wall clock showed within the last day, less what it trusts now, and from which instant on; the present last. */
  readonly showed: readonly { readonly at: number; readonly offsetMs: number }[];
  /** Where most computers stand beside it together; null where they do not, or where it is right. */
  readonly majority: { readonly at: number; readonly aheadMs: number; readonly computers: number } | null;
}

export interface ClockFacts {
  /** Fleet instant. */
  readonly at: number;
  /** The agent's clock less trusted time. */
  readonly estimate: ClockEstimate | null;
  readonly drift: ClockDrift | null;
  /** Ascending. */
  readonly steps: readonly KnownStep[];
  readonly manager: ManagerClock;
  /** The first sample of those that are kept. */
  readonly watchedSince: number | null;
}

/** Numbers that say what a finding stands on; durations in milliseconds, rates in parts per million. */
export type EvidenceValues = Readonly<Record<string, number>>;

export interface ClockEvidence {
  readonly code: string;
  readonly detail: string;
  readonly values: EvidenceValues;
}

export interface ClockFinding {
  readonly classification: ClockClass;
  /** Fleet instant from which on it is so, as far as is known. */
  readonly since: number | null;
  readonly evidence: readonly ClockEvidence[];
}

/** Whoever keeps a clock in order keeps it within this. */
const IN_ORDER_MS = 1000;
/** Standing offsets of zones reach from UTC-12 to UTC+14. */
const WIDEST_ZONE_MS = 14 * 3_600_000;
/** A step explains what stands afterwards up to this, beside the errors. */
const EXPLAINED_MS = 2000;
/** Less than that an offset may have come by in hours is no matter of a rate. */
const NOTABLE_PPM = 20;

/** The classification of a clock with what it stands on. The first that fits counts. */
export function classifyClock(facts: ClockFacts): ClockFinding {
  const { estimate } = facts;
  const evidence = evidenceFor(facts);
  if (!estimate) return { classification: 'unknown', since: null, evidence };
  const found =
    managerFault(facts, estimate) ??
    fastClock(facts) ??
    zoneFault(facts, estimate) ??
    explainedOffset(facts, estimate) ??
    slowDrift(facts, estimate) ??
    restOf(facts, estimate);
  return { ...found, evidence };
}

type Found = Pick<ClockFinding, 'classification' | 'since'>;

/** What is certain of a difference. */
function certainOf(differenceMs: number, { errorMs }: Pick<ClockEstimate, 'errorMs'>): number {
  return Math.max(0, Math.abs(differenceMs) - errorMs);
}

/** Right by one of the clocks that the manager showed and wrong by another, or where most computers are. */
function managerFault({ manager }: ClockFacts, estimate: ClockEstimate): Found | null {
  const { showed, majority } = manager;
  const present = showed.at(-1);
  const fits = (offsetMs: number): boolean => certainOf(estimate.aheadMs - offsetMs, estimate) <= IN_ORDER_MS;
  const others = showed.filter(({ offsetMs }) => Math.abs(offsetMs) > IN_ORDER_MS);
  if (fits(0)) {
    const isShownWrong = present !== undefined && others.includes(present) && !fits(present.offsetMs);
    return isShownWrong ? { classification: 'manager-step', since: present.at } : null;
  }
  if (others.some(({ offsetMs }) => fits(offsetMs)))
    return { classification: 'manager-step', since: present?.at ?? null };
  if (!majority) return null;
  const isWithMost = certainOf(estimate.aheadMs - majority.aheadMs, estimate) <= EXPLAINED_MS;
  return isWithMost ? { classification: 'manager-step', since: majority.at } : null;
}

function zoneFault(facts: ClockFacts, estimate: ClockEstimate): Found | null {
  const isZone = isZoneFault(estimate.aheadMs, { widestMs: WIDEST_ZONE_MS, errorMs: estimate.errorMs });
  if (!isZone) return null;
  const step = facts.steps.findLast(({ byMs }) => isZoneFault(byMs, { widestMs: WIDEST_ZONE_MS, errorMs: 0 }));
  return { classification: 'time-zone-or-dst', since: step?.until ?? facts.watchedSince };
}

/** No clock that runs is so fast or so slow, whatever its offset is. */
function fastClock({ drift }: ClockFacts): Found | null {
  if (!drift || certainPpm(drift) <= FREQUENCY_TOLERANCE * 1e6) return null;
  return { classification: 'steady-drift', since: drift.from };
}

/** The last change of the clock that explains where it stands. */
function explainedOffset({ steps }: ClockFacts, estimate: ClockEstimate): Found | null {
  const { aheadMs, errorMs } = estimate;
  if (certainOf(aheadMs, estimate) <= IN_ORDER_MS) return null;
  const explaining = steps.findLast(({ byMs }) => {
    const restMs = Math.abs(aheadMs - byMs);
    return restMs <= EXPLAINED_MS + errorMs || restMs <= Math.abs(aheadMs) / 2;
  });
  return explaining ? { classification: explaining.kind, since: explaining.until } : null;
}

function slowDrift({ drift }: ClockFacts, estimate: ClockEstimate): Found | null {
  const isBeside = certainOf(estimate.aheadMs, estimate) > IN_ORDER_MS;
  if (!drift || !isBeside || certainPpm(drift) < NOTABLE_PPM) return null;
  return { classification: 'steady-drift', since: drift.from };
}

function restOf({ watchedSince, steps }: ClockFacts, estimate: ClockEstimate): Found {
  if (certainOf(estimate.aheadMs, estimate) > IN_ORDER_MS)
    return { classification: 'standing-offset', since: watchedSince };
  return { classification: 'in-order', since: steps.at(-1)?.until ?? watchedSince };
}

function evidenceFor(facts: ClockFacts): ClockEvidence[] {
  return [
    ...offsetEvidence(facts),
    ...driftEvidence(facts),
    ...zoneEvidence(facts),
    ...stepEvidence(facts),
    ...managerEvidence(facts.manager),
  ];
}

function offsetEvidence({ estimate }: ClockFacts): ClockEvidence[] {
  if (!estimate) return [{ code: 'no-sample', detail: 'No exchange has told its offset yet.', values: {} }];
  const { aheadMs: offsetMs, errorMs: errorBoundMs, roundTripMs, stages: samples } = estimate;
  const detail = `The offset is ${spoken(offsetMs)}, within ${spoken(errorBoundMs)}: the best of the last ${samples} exchanges.`;
  return [{ code: 'offset', detail, values: { offsetMs, errorBoundMs, roundTripMs, samples } }];
}

function driftEvidence({ drift }: ClockFacts): ClockEvidence[] {
  if (!drift) return [];
  const { samples, from, until, isSteady } = drift;
  const [ppm, boundPpm] = [tenths(drift.ppm), tenths(drift.boundPpm)];
  const kept = isSteady ? 'steadily' : 'not steadily';
  const spanMs = until - from;
  const detail = `Over ${spoken(spanMs)} it gained ${ppm} ppm, within ${boundPpm} ppm, ${kept}.`;
  return [{ code: 'drift', detail, values: { ppm, boundPpm, samples, spanMs } }];
}

function zoneEvidence({ estimate }: ClockFacts): ClockEvidence[] {
  if (!estimate || !isZoneFault(estimate.aheadMs, { widestMs: WIDEST_ZONE_MS, errorMs: estimate.errorMs })) return [];
  const minutes = Math.round(estimate.aheadMs / QUARTER_MS) * 15;
  const restMs = estimate.aheadMs - minutes * 60_000;
  const isHours = minutes % 60 === 0;
  const unit = isHours ? 'a whole number of hours' : 'a multiple of 15 minutes';
  const detail = `${spoken(estimate.aheadMs)} is ${unit} but for ${spoken(restMs)}.`;
  return [{ code: isHours ? 'whole-hours' : 'quarter-hours', detail, values: { minutes, restMs } }];
}

const QUARTER_MS = 15 * 60_000;

function stepEvidence({ steps }: ClockFacts): ClockEvidence[] {
  const last = steps.at(-1);
  if (!last) return [];
  const { kind, source, byMs, from, until } = last;
  const who = source === 'agent' ? 'The agent told' : 'Two exchanges show';
  const what = kind === 'suspend' ? `a pause that moved it by ${spoken(byMs)}` : `a step of ${spoken(byMs)}`;
  return [{ code: `last-${kind}`, detail: `${who} ${what}.`, values: { byMs, withinMs: until - from } }];
}

function managerEvidence({ showed, majority }: ManagerClock): ClockEvidence[] {
  const evidence: ClockEvidence[] = [];
  const other = showed.findLast(({ offsetMs }) => Math.abs(offsetMs) > IN_ORDER_MS);
  if (other) {
    const detail = `Within the last day the manager's wall clock showed a time ${spoken(other.offsetMs)} beside what is trusted.`;
    evidence.push({ code: 'manager-stepped', detail, values: { offsetMs: other.offsetMs } });
  }
  if (majority) {
    const { aheadMs, computers } = majority;
    const detail = `${computers} computers agree with one another and stand ${spoken(aheadMs)} beside the manager's clock.`;
    evidence.push({ code: 'most-computers', detail, values: { offsetMs: aheadMs, computers } });
  }
  return evidence;
}

function tenths(value: number): number {
  return Math.round(value * 10) / 10;
}

/** Milliseconds below ten seconds, else seconds; grouped by thousands. */
function spoken(ms: number): string {
  const [value, unit] = Math.abs(ms) < 10_000 ? [Math.round(ms), 'ms'] : [Math.round(ms / 1000), 's'];
  return `${value.toLocaleString('en')} ${unit}`;
}

/** One sentence for an alert or a list. */
export function describeClock(classification: ClockClass, offsetMs: number | null): string {
  const offset = offsetMs === null ? 'unknown' : spoken(offsetMs);
  return SENTENCES[classification](offset);
}

const SENTENCES: Readonly<Record<ClockClass, (offset: string) => string>> = {
  'in-order': (offset) => `the offset is ${offset}: in order`,
  step: (offset) => `the offset is ${offset}: the clock was set`,
  'time-zone-or-dst': (offset) =>
    `the offset is ${offset}: a time zone or DST setting on a computer whose hardware clock is in local time`,
  'steady-drift': (offset) => `the offset is ${offset} and grows: the clock runs at a wrong rate`,
  suspend: (offset) => `the offset is ${offset}: the clock stood still while the computer was paused`,
  'manager-step': (offset) => `the offset is ${offset}: the manager's own clock is, or was, wrong`,
  'standing-offset': (offset) => `the offset is ${offset}: it stands there, and nobody saw how it came`,
  unknown: () => 'the offset is unknown',
};

/** What to do, by classification. */
export const CLOCK_ADVICE: Readonly<Record<ClockClass, readonly string[]>> = {
  'in-order': [],
  step: [
    'Find out who or what set it: its log tells at that instant. A synchronisation that steps once after a start is harmless.',
    'Check that it is synchronised (chronyc tracking, timedatectl).',
  ],
  'time-zone-or-dst': [
    'Set its hardware clock to UTC (timedatectl set-local-rtc 0), its zone (timedatectl set-timezone), then its time.',
    'Look at the zone that the hypervisor gives its machines, and at systems that are started in turn on this machine.',
  ],
  'steady-drift': [
    'Check that it is synchronised (chronyc tracking, timedatectl): a clock that is disciplined does not drift.',
    'In a virtual machine look at its clock source and at the time that the host takes from it.',
  ],
  suspend: ['Have it synchronised after it resumes: let the guest tools or chrony (makestep) step its clock.'],
  'manager-step': [
    "Correct the manager's clock, or wait: a step of more than five minutes is trusted after a day. Do nothing on this computer.",
  ],
  'standing-offset': ['Check that it is synchronised (chronyc tracking, timedatectl), and with whom.'],
  unknown: ['Wait for two exchanges: the second one tells the offset.'],
};
