import type { CommunicationDirection, SettingValues } from '../policies/setting-values.js';
import type { CandidateReport } from '../protocol/heartbeat-messages.js';
import { routeKey, type Route } from './transport/route-rules.js';

/** A candidate that was not proven by then is reverted; counted by the boot clock. */
export const CANDIDATE_LIMIT_MS = 120_000;
/** So long a reverted candidate is reported, and not tried again. */
export const REVERTED_KEPT_MS = 3_600_000;
/** The least time after which an agent that nobody dialled dials once itself. */
export const SHORTEST_FALLBACK_MS = 3_600_000;
/** So long after an exchange over the old route the new one is tried again. */
export const PROOF_RETRY_MS = 10_000;
const FALLBACK_INTERVALS = 10;
const LINGERING_INTERVALS = 2;

/** What of the settings says how manager and agent reach each other. */
export interface Way {
  readonly direction: CommunicationDirection;
  readonly listenerPort: number;
  readonly allowedSources: readonly string[];
  /** How connections of the agent's own go. */
  readonly route: Route;
}

/** Over what the side that will dial proves the new way. */
export type Proof = 'listener' | 'dial';

export interface Candidate {
  readonly fingerprint: string;
  readonly way: Way;
  readonly proof: Proof;
  readonly beganBoot: number;
  readonly deadlineBoot: number;
  /** The agent was told at its enrollment not to dial: it does not before the deadline. */
  readonly holdsDials: boolean;
  /** The last exchange that came about over another route than the one to be proven. */
  readonly missedBoot?: number | undefined;
}

export type RevertReason = NonNullable<CandidateReport['reason']>;

export interface Reverted {
  readonly fingerprint: string;
  readonly direction: CommunicationDirection;
  readonly reason: RevertReason;
  readonly detail: string;
  readonly untilBoot: number;
}

/** The ways of an agent. Instants are of the boot clock, milliseconds. */
export interface Ways {
  readonly inForce: Way;
  readonly candidate?: Candidate | undefined;
  readonly reverted?: Reverted | undefined;
  /** The way before the last change, which stays open for a while. */
  readonly lingering?: { readonly way: Way; readonly untilBoot: number } | undefined;
}

/** The connection that an exchange came over. */
export type Carrier =
  /** `route`: of `routeKey`; absent where there is only one. */
  | { readonly kind: 'dial'; readonly route?: string | undefined }
  /** `admittedBy` answers whether a list of allowed sources lets this peer in. */
  | {
      readonly kind: 'listener';
      readonly port: number;
      readonly admittedBy: (sources: readonly string[]) => boolean;
      /** The mark of the firewall's rules under which it was opened; absent where there were none. */
      readonly firewall?: string | undefined;
    };

export function wayOf(
  values: SettingValues,
  more: { readonly listenerPort?: number | undefined; readonly route: Route },
): Way {
  const { communicationDirection: direction, listenerAllowedSources: allowedSources } = values;
  return { direction, listenerPort: more.listenerPort ?? values.listenerPort, allowedSources, route: more.route };
}

/**
 * Undefined where the change can be put in force at once: the side that will dial does so already, and in the same way. An
 * agent that waits to be dialled proves no route: it needs one only when nobody dials it.
 */
export function proofNeeded(from: Way, to: Way): Proof | undefined {
  const was = from.direction === 'managerInitiated';
  if (to.direction !== 'managerInitiated') return was || !isSameRoute(from, to) ? 'dial' : undefined;
  return was && isSameListener(from, to) ? undefined : 'listener';
}

function isSameRoute(from: Way, to: Way): boolean {
  return routeKey(from.route) === routeKey(to.route);
}

function isSameListener(from: Way, to: Way): boolean {
  const isSamePort = from.listenerPort === to.listenerPort && from.route.firewall === to.route.firewall;
  return isSamePort && sameList(from.allowedSources, to.allowedSources);
}

function sameList(a: readonly string[], b: readonly string[]): boolean {
  return a.length === b.length && a.every((member, index) => member === b[index]);
}

export interface Offer {
  readonly fingerprint: string;
  readonly way: Way;
  readonly nowBoot: number;
  readonly intervalMs: number;
  readonly holdsDials?: boolean;
}

/** `ignored`: it is being proven already, or was reverted a while ago. */
export type OfferResult = { readonly kind: 'at-once' | 'candidate' | 'ignored'; readonly ways: Ways };

/** What new settings do to the ways. A candidate or a reverted one before them is forgotten. */
export function offerWay(ways: Ways, offer: Offer): OfferResult {
  const { fingerprint, way, nowBoot } = offer;
  const known = ways.candidate?.fingerprint === fingerprint || isReverted(ways, fingerprint, nowBoot);
  if (known) return { kind: 'ignored', ways };
  const proof = proofNeeded(ways.inForce, way);
  if (proof === undefined) return { kind: 'at-once', ways: putInForce(ways, offer) };
  const candidate: Candidate = {
    fingerprint,
    way,
    proof,
    beganBoot: nowBoot,
    deadlineBoot: nowBoot + CANDIDATE_LIMIT_MS,
    holdsDials: proof === 'listener' && (offer.holdsDials ?? ways.candidate?.holdsDials ?? false),
  };
  return { kind: 'candidate', ways: { inForce: ways.inForce, lingering: ways.lingering, candidate } };
}

function isReverted({ reverted }: Ways, fingerprint: string, nowBoot: number): boolean {
  return reverted !== undefined && reverted.fingerprint === fingerprint && nowBoot < reverted.untilBoot;
}

/** Whether an exchange over this carrier is one over the candidate's new way. */
export function proves({ way, proof }: Candidate, carrier: Carrier): boolean {
  if (carrier.kind === 'dial')
    return proof === 'dial' && (carrier.route === undefined || carrier.route === routeKey(way.route));
  const isUnderRules = carrier.firewall === way.route.firewall;
  const isOver = carrier.port === way.listenerPort && isUnderRules;
  return proof === 'listener' && isOver && carrier.admittedBy(way.allowedSources);
}

export interface Commit {
  readonly fingerprint: string;
  readonly carrier: Carrier;
  readonly nowBoot: number;
  readonly intervalMs: number;
}

/** Whether the exchange that goes on over this carrier cannot prove a candidate that is to be proven by a dial. */
export function needsAnotherDial({ candidate }: Ways, carrier: Carrier): boolean {
  return candidate?.proof === 'dial' && carrier.kind === 'dial' && !proves(candidate, carrier);
}

/** An exchange came about, but over another route than the candidate's. */
export function missCandidate(ways: Ways, nowBoot: number): Ways {
  return ways.candidate ? { ...ways, candidate: { ...ways.candidate, missedBoot: nowBoot } } : ways;
}

/** The list of an operator at the computer changed: the same settings lead elsewhere now. */
export function reroute(ways: Ways, route: { readonly inForce: Route; readonly candidate: Route | undefined }): Ways {
  const { inForce, candidate } = ways;
  const proving = candidate && route.candidate && { ...candidate, way: { ...candidate.way, route: route.candidate } };
  return { ...ways, inForce: { ...inForce, route: route.inForce }, ...(proving ? { candidate: proving } : {}) };
}

/** The ways after the manager stored the exchange that proved the candidate; undefined where it proved nothing. */
export function commitCandidate(ways: Ways, commit: Commit): Ways | undefined {
  const { candidate } = ways;
  if (candidate?.fingerprint !== commit.fingerprint || !proves(candidate, commit.carrier)) return undefined;
  return putInForce(ways, { ...commit, way: candidate.way });
}

function putInForce({ inForce, lingering }: Ways, { way, nowBoot, intervalMs }: Omit<Offer, 'fingerprint'>): Ways {
  const wasOpen = listens(inForce) && !(listens(way) && way.listenerPort === inForce.listenerPort);
  const left = { way: inForce, untilBoot: nowBoot + LINGERING_INTERVALS * intervalMs };
  return { inForce: way, lingering: wasOpen ? left : lingering };
}

export function revertCandidate(ways: Ways, why: Pick<Reverted, 'reason' | 'detail'>, nowBoot: number): Ways {
  const { candidate, inForce, lingering } = ways;
  if (!candidate) return ways;
  const { fingerprint, way } = candidate;
  const untilBoot = nowBoot + REVERTED_KEPT_MS;
  return { inForce, lingering, reverted: { fingerprint, direction: way.direction, untilBoot, ...why } };
}

/** Forgets that these settings were reverted: offered again, they are tried again. */
export function forgetReverted({ reverted, ...others }: Ways, fingerprint: string): Ways {
  return reverted === undefined || reverted.fingerprint === fingerprint ? others : { ...others, reverted };
}

/** Forgets what has run out; a candidate past its deadline is the caller's to revert. */
export function forgetExpired(ways: Ways, nowBoot: number): Ways {
  const { lingering, reverted, ...others } = ways;
  return {
    ...others,
    ...(lingering && nowBoot < lingering.untilBoot ? { lingering } : {}),
    ...(reverted && nowBoot < reverted.untilBoot ? { reverted } : {}),
  };
}

/** When time alone changes something next; infinite where it does not. */
export function nextChangeBoot({ candidate, lingering, reverted }: Ways): number {
  const instants = [candidate?.deadlineBoot, lingering?.untilBoot, reverted?.untilBoot];
  return Math.min(...instants.map((instant) => instant ?? Number.POSITIVE_INFINITY));
}

export function listens({ direction }: Way): boolean {
  return direction !== 'agentInitiated';
}

/** A port to listen on, and lists of sources of which one must admit a peer. */
export interface ListenerWish {
  readonly port: number;
  readonly sources: readonly (readonly string[])[];
}

/** Where the agent listens now: the way in force first. */
export function listenerWishes({ inForce, candidate, lingering }: Ways): ListenerWish[] {
  const proving = candidate?.proof === 'listener' ? candidate.way : undefined;
  const open = [listens(inForce) ? inForce : undefined, proving].filter((way) => way !== undefined);
  // On a port that is in use anyway the old list of sources ends with the change.
  const old = lingering && !open.some(({ listenerPort }) => listenerPort === lingering.way.listenerPort);
  if (old) open.push(lingering.way);
  const ports = [...new Set(open.map(({ listenerPort }) => listenerPort))];
  return ports.map((port) => ({
    port,
    sources: open.filter(({ listenerPort }) => listenerPort === port).map(({ allowedSources }) => allowedSources),
  }));
}

/** Whether the agent opens connections of its own accord, goodbyes among them. */
export function dialsByItself({ inForce, candidate }: Ways): boolean {
  if (candidate?.holdsDials) return false;
  return inForce.direction !== 'managerInitiated' || candidate?.proof === 'dial';
}

export interface DialFacts {
  /** The next contact as the manager ordered it, or the retry after a failure. */
  readonly orderedBoot: number;
  /** The start of the agent's last own attempt. */
  readonly lastDialBoot: number;
  /** The last exchange over whatever carrier, the last own attempt, or the start. */
  readonly quietSinceBoot: number;
  readonly intervalMs: number;
  /** The manager would dial in vain and was not told so: nobody but the agent can tell it. */
  readonly isListenerUntold: boolean;
}

/** When the agent dials next: always a finite instant, so that no setting loses it. */
export function nextDialBoot(ways: Ways, facts: DialFacts): number {
  const { candidate } = ways;
  if (candidate?.holdsDials) return candidate.deadlineBoot;
  if (candidate?.proof === 'dial' && facts.lastDialBoot < candidate.beganBoot) return candidate.beganBoot;
  if (candidate?.missedBoot !== undefined) return Math.min(facts.orderedBoot, candidate.missedBoot + PROOF_RETRY_MS);
  if (dialsByItself(ways) || facts.isListenerUntold) return facts.orderedBoot;
  return facts.quietSinceBoot + fallbackMs(facts.intervalMs);
}

export interface ListenerFacts {
  /** Where a report would say that the agent listens, null where nowhere; undefined before the port was tried. */
  readonly openPort: number | null | undefined;
  /** The same of the last report that the manager answered; undefined before any. */
  readonly toldPort: number | null | undefined;
  /** The setting, which the manager dials where no port was told. */
  readonly settingPort: number;
}

/** Whether an agent that is to be dialled waits where its manager does not dial, or nowhere and has not said so. */
export function isListenerUntold({ direction }: Way, { openPort, toldPort, settingPort }: ListenerFacts): boolean {
  if (direction !== 'managerInitiated' || openPort === undefined) return false;
  return openPort === null ? toldPort !== null : openPort !== (toldPort ?? settingPort);
}

export function fallbackMs(intervalMs: number): number {
  return Math.max(FALLBACK_INTERVALS * intervalMs, SHORTEST_FALLBACK_MS);
}
