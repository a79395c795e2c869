import { createSecureContext, type SecureContext } from 'node:tls';
import type { ManagerIdentity } from '../../certs/manager-identity.js';
import { hostUpOf } from '../../policies/diagnosis-rules.js';
import { TLS_OPTIONS } from '../../certs/tls-profile.js';
import type { Clock } from '../../lib/clock.js';
import { withDeadline } from '../../lib/deadline.js';
import type { BeginLimit } from '../../lib/processor-wait.js';
import { connectionFactsOf } from '../agent-channel/agent-exchange.js';
import type { LateRenewals } from '../certificates/late-renewals.js';
import type { BodyBudget } from '../../lib/body-reader.js';
import { identityOf, type PeerIdentity, type PeerState, type PeerVerifier } from '../agent-channel/peer-identity.js';
import { createListenerConnection, openSocket } from './dial-connection.js';
import { converse, type ConversationDeps, type Said } from './dial-conversation.js';
import { DialFailure, ExchangeInProgress, OwnFailure, toPathFailure, type DialFailureCode } from './dial-failure.js';
import { renewOverDial, type DialledRenewal } from './dial-renewal.js';
import type { DialGuard } from './dial-guard.js';
import { allowedAddresses, type DialTarget, type Resolve } from './dial-target.js';

export interface DialTransportDeps extends ConversationDeps {
  readonly identity: ManagerIdentity;
  /** Renews a certificate that has expired; throws a Problem. Nothing is renewed so unless given. */
  readonly renewLate?: LateRenewals['renew'] | undefined;
  readonly rootPem: string;
  readonly verifier: PeerVerifier;
  /** Trusted time in Unix milliseconds. */
  readonly trustedNow: () => number;
  readonly guard: DialGuard;
  readonly resolve: Resolve;
  readonly bodies: BodyBudget;
  readonly clock: Pick<Clock, 'sleep'>;
  readonly limitsMs?: DialLimits;
  /** How long a peer may take to connect on a machine that starves us. */
  readonly patience: BeginLimit;
}

export interface DialLimits {
  /** Name, connection and handshake; longer, within `totalMs`, while this process itself waits for a processor. */
  readonly connectMs?: number;
  /** Everything. */
  readonly totalMs?: number;
}

/**
 * `answered`: a report is stored (`isNews`: one that was not stored before); `busy`: the agent's exchange is in flight
 * elsewhere; `own`: we could not store what it said. Only `failed` speaks of the agent; `hostUp` tells whether its machine
 * answered, and `told` is the code of the refusal that it was given for its report, and took.
 */
export type DialOutcome =
  | { readonly kind: 'answered'; readonly isNews: boolean }
  | { readonly kind: 'busy' }
  | { readonly kind: 'own'; readonly retryAfterMs: number }
  | {
      readonly kind: 'failed';
      readonly failure: DialFailure;
      readonly hostUp: boolean | null;
      readonly told?: string;
    };

/** What a connection alone came to; `own`: the manager had no room for it, which says nothing. */
export interface ProbeOutcome {
  readonly result: 'answered' | 'own' | DialFailureCode;
  readonly detail: string | null;
  readonly hostUp: boolean | null;
}

export interface ProbeTransport {
  /** Connects, has the peer prove that it is this computer, and says nothing; never throws, and ends as a dial does. */
  probe(computerId: string, target: () => DialTarget, signal: AbortSignal): Promise<ProbeOutcome>;
}

export interface DialTransport {
  /** Dials one computer; never throws. Ends at the latest 10 s after its begin, or soon after the signal. */
  dial(computerId: string, target: () => DialTarget, signal: AbortSignal): Promise<DialOutcome>;
}

/** All that goes over the manager's connections to listeners. */
export interface ListenerTransport extends DialTransport, ProbeTransport {
  /** Shows another key and leaf of the manager's from the next connection on. */
  renew(identity: ManagerIdentity): void;
}

export const DIAL_LIMITS: Required<DialLimits> = { connectMs: 3000, totalMs: 10_000 };
const OWN_RETRY_MS = 2000;
/** Refusals that are about us or about load, never about the agent. */
const OWN_PROBLEMS: ReadonlySet<string> = new Set(['unavailable', 'internal', 'too-many-requests']);

export function createDialTransport(deps: DialTransportDeps): ListenerTransport {
  const { clock } = deps;
  const limits = { ...DIAL_LIMITS, ...deps.limitsMs };
  let context = contextOf(deps, deps.identity);
  const run = async (
    dial: Omit<Dial, 'target'>,
    target: () => DialTarget,
    signal: AbortSignal,
  ): Promise<DialOutcome> => {
    const reason = (): Error => new DialFailure('timeout', `no end within ${limits.totalMs} ms`);
    try {
      await withDeadline({ clock, milliseconds: limits.totalMs, signal, reason }, (limited) =>
        exchange({ deps, context, connectMs: limits.connectMs }, { ...dial, target: target() }, limited),
      );
      return dial.speaks ? outcomeOf(dial.said) : { kind: 'answered', isNews: false };
    } catch (error) {
      return signal.aborted ? { kind: 'own', retryAfterMs: OWN_RETRY_MS } : failureOf(deps, error, dial.said);
    }
  };
  const unsaid = (): Said => ({ reports: 0, news: 0, problem: undefined, told: undefined, hasConnected: false });
  return {
    renew: (identity) => void (context = contextOf(deps, identity)),
    dial: (computerId, target, signal) => run({ computerId, said: unsaid(), speaks: true }, target, signal),
    async probe(computerId, target, signal) {
      return toProbeOutcome(await run({ computerId, said: unsaid(), speaks: false }, target, signal));
    },
  };
}

function contextOf({ rootPem }: DialTransportDeps, identity: ManagerIdentity): SecureContext {
  return createSecureContext({
    ...TLS_OPTIONS,
    key: identity.keyPem,
    cert: identity.certPem + identity.chainPem,
    ca: rootPem,
  });
}

function toProbeOutcome(outcome: DialOutcome): ProbeOutcome {
  if (outcome.kind === 'answered') return { result: 'answered', detail: null, hostUp: true };
  if (outcome.kind !== 'failed') return { result: 'own', detail: null, hostUp: null };
  const { failure, hostUp } = outcome;
  return { result: failure.code, detail: failure.message, hostUp };
}

interface Means {
  readonly deps: DialTransportDeps;
  readonly context: SecureContext;
  readonly connectMs: number;
}

interface Dial {
  readonly computerId: string;
  readonly target: DialTarget;
  readonly said: Said;
  /** Otherwise it ends when the peer has proven who it is. */
  readonly speaks: boolean;
}

async function exchange(means: Means, { computerId, target, said, speaks }: Dial, signal: AbortSignal): Promise<void> {
  const { deps } = means;
  const reason = (ms: number): Error => new DialFailure('timeout', `not connected within ${Math.round(ms)} ms`);
  const more = deps.patience(means.connectMs);
  const deadline = { clock: deps.clock, milliseconds: means.connectMs, signal, more, reason };
  const onConnect = (): void => void (said.hasConnected = true);
  const { socket, address } = await withDeadline(deadline, (limited) => reach(means, { target, onConnect }, limited));
  const lease = deps.bodies.lease();
  const host = address.includes(':') ? `[${address}]` : address;
  const connection = createListenerConnection(socket, host, lease);
  try {
    const state = deps.verifier.verify(socket);
    if (speaks) await renewIfExpired(deps, state, { computerId, connection, signal });
    const identity = proveComputer(deps, state, computerId);
    if (speaks) await converse(deps, { connection, identity, facts: connectionFactsOf(socket), signal }, said);
  } finally {
    connection.close();
    lease.release();
  }
}

interface Reaching {
  readonly target: DialTarget;
  readonly onConnect: () => void;
}

async function reach({ deps, context }: Means, { target, onConnect }: Reaching, signal: AbortSignal) {
  let failure: unknown = new DialFailure('dns', 'the name has no address');
  for (const address of await allowedAddresses(deps, target, signal)) {
    try {
      return { address, socket: await openSocket({ address, port: target.port, context, onConnect, signal }) };
    } catch (error) {
      failure = error;
      if (signal.aborted) break;
    }
  }
  throw failure;
}

/** The dial ends with it: the next one is answered with the new certificate. */
async function renewIfExpired(
  { renewLate }: DialTransportDeps,
  state: PeerState,
  { computerId, ...rest }: Omit<DialledRenewal, 'peer' | 'renewLate'> & { readonly computerId: string },
): Promise<void> {
  const peer = state.kind === 'refused' && state.reason === 'tls-expired' ? state.proven : undefined;
  if (renewLate && peer?.id === computerId) await renewOverDial({ ...rest, peer, renewLate });
}

/** The peer must prove that very computer, by trusted time. */
function proveComputer({ trustedNow }: DialTransportDeps, state: PeerState, computerId: string): PeerIdentity {
  if (state.kind === 'absent') throw new DialFailure('tls-unknown-ca', 'the peer presented no certificate');
  if (state.kind === 'refused') throw toPathFailure(state.reason, state.detail);
  if (state.identity.computerId !== computerId)
    throw new DialFailure('tls-other-computer', `the peer proves computer ${state.identity.computerId}`);
  return identityOf(state, trustedNow());
}

function outcomeOf({ reports, news, problem, told }: Said): DialOutcome {
  if (reports > 0) return { kind: 'answered', isNews: news > 0 };
  if (!problem)
    return { kind: 'failed', failure: new DialFailure('protocol', 'the agent had no report'), hostUp: true };
  if (OWN_PROBLEMS.has(problem.code))
    return { kind: 'own', retryAfterMs: (problem.facts.retryAfterSeconds ?? 0) * 1000 || OWN_RETRY_MS };
  const failure = new DialFailure('protocol', `the report was refused: ${problem.code}`);
  return { kind: 'failed', failure, hostUp: true, ...(told ? { told: told.code } : {}) };
}

/** Whatever the network or the peer did was named where it happened. */
function failureOf({ log }: DialTransportDeps, error: unknown, said: Said): DialOutcome {
  // What was stored is contact; an agent that then falls silent repeats the rest next time.
  if (said.reports > 0 || said.problem) return outcomeOf(said);
  if (error instanceof ExchangeInProgress) return { kind: 'busy' };
  if (error instanceof DialFailure && !(error instanceof OwnFailure))
    return { kind: 'failed', failure: error, hostUp: hostUpOf(error.code, said.hasConnected) };
  if (!(error instanceof OwnFailure)) log.error({ err: error }, 'A dial failed by a fault of ours');
  return { kind: 'own', retryAfterMs: OWN_RETRY_MS };
}
