import type { Status } from './status-model.js';

/** Fewer computers than this are too few to doubt oneself for. */
export const FEWEST_COMPUTERS = 10;
const SUSPICIOUS_PERCENT = 90;
/** However its own path looks, the manager goes on after this. */
export const PATIENCE_MS = 120_000;
/** A path that was found broken is looked at again after this. */
export const CHECK_AGAIN_MS = 5000;

/** What is known of one computer when silences are counted. */
export interface Silence {
  readonly status: Status;
  /** Its first deadline has passed, which is not stored yet. */
  readonly isOverdue: boolean;
  /** Listening time since its last report. */
  readonly silentForMs: number;
}

/** How a computer counts: `falling` are in contact by what is stored, and about to be called late or offline. */
export type Standing = 'in-contact' | 'falling' | 'fallen' | 'uncounted';

const SILENT: readonly Status[] = ['late', 'offline'];

/** A silence that began longer ago than the window counts neither as lost now nor as still there. */
export function standingOf({ status, isOverdue, silentForMs }: Silence, windowMs: number): Standing {
  if (status === 'online' && !isOverdue) return 'in-contact';
  if ((status !== 'online' && !SILENT.includes(status)) || silentForMs > windowMs) return 'uncounted';
  return status === 'online' ? 'falling' : 'fallen';
}

const ALLOWANCE_MS = 60_000;
const INTERVALS = 3;

/**
 * Who falls silent together does so within one interval; the first deadline comes up to two intervals after the last
 * report where a deaf time lay between.
 */
export function windowOf(longestIntervalMs: number): number {
  return INTERVALS * longestIntervalMs + ALLOWANCE_MS;
}

/** How many computers have each standing. */
export interface Census extends Readonly<Record<Exclude<Standing, 'uncounted'>, number>> {
  /** The newest report of those falling and fallen: so long the path worked for them. Fleet milliseconds. */
  readonly lostAt: number;
}

export function countedIn(census: Census): number {
  return census['in-contact'] + census.falling + census.fallen;
}

/** Whether so many fell silent together that the manager itself is the likelier cause. */
export function isSuspicious(census: Census): boolean {
  const counted = countedIn(census);
  return counted >= FEWEST_COMPUTERS && 100 * (census.falling + census.fallen) >= SUSPICIOUS_PERCENT * counted;
}

/** Instants are fleet milliseconds. */
export type Suspicion =
  | { readonly phase: 'none' }
  /** Verdicts wait for what the look at the own path says. */
  | ({ readonly phase: 'checking' } & Hold)
  /** The own path is broken: verdicts wait, and the time since `lostAt` counts as deaf. */
  | ({ readonly phase: 'broken'; readonly fault: string } & Hold)
  /** The silence is believed, and not doubted again before the computers were heard. */
  | { readonly phase: 'believed'; readonly since: number; readonly counted: number; readonly by: 'check' | 'patience' };

interface Hold {
  readonly since: number;
  readonly lostAt: number;
  readonly counted: number;
}

export const UNSUSPECTING: Suspicion = { phase: 'none' };

export function isHolding(suspicion: Suspicion): suspicion is Extract<Suspicion, { phase: 'checking' | 'broken' }> {
  return suspicion.phase === 'checking' || suspicion.phase === 'broken';
}

/** Asked before silences are written. */
export function onCensus(suspicion: Suspicion, census: Census, at: number): Suspicion {
  if (suspicion.phase !== 'none' || !isSuspicious(census)) return suspicion;
  return { phase: 'checking', since: at, lostAt: Math.min(census.lostAt, at), counted: countedIn(census) };
}

/** What a look at the own path found: what does not work, null for nothing, undefined where nothing could be told. */
export type PathFinding = string | null | undefined;

/** What nothing can be told of is looked at again; it is neither believed nor broken by that. */
export function onCheck(suspicion: Suspicion, fault: PathFinding, at: number): Suspicion {
  if (!isHolding(suspicion) || fault === undefined) return suspicion;
  const { since, lostAt, counted } = suspicion;
  if (fault === null) return { phase: 'believed', since: at, counted, by: 'check' };
  return { phase: 'broken', since, lostAt, counted, fault };
}

/** As time goes on; `heard` of the computers have reported since `suspicion.since`. */
export function onTime(
  suspicion: Suspicion,
  { at, heard }: { readonly at: number; readonly heard: number },
): Suspicion {
  if (isHolding(suspicion) && at - suspicion.since >= PATIENCE_MS)
    return { phase: 'believed', since: at, counted: suspicion.counted, by: 'patience' };
  const isBack = suspicion.phase === 'believed' && 100 * heard > (100 - SUSPICIOUS_PERCENT) * suspicion.counted;
  return isBack ? UNSUSPECTING : suspicion;
}
