import { createSecureContext, type SecureContext, type TLSSocket } from 'node:tls';
import type { ManagerIdentity } from '../../certs/manager-identity.js';
import { TLS_OPTIONS } from '../../certs/tls-profile.js';
import type { Clock } from '../../lib/clock.js';
import { withDeadline } from '../../lib/deadline.js';
import { connectionFactsOf } from '../agent-channel/agent-exchange.js';
import type { BodyBudget } from '../../lib/body-reader.js';
import { identityOf, type PeerIdentity, type PeerVerifier } from '../agent-channel/peer-identity.js';
import { createListenerConnection, openSocket } from './dial-connection.js';
import { converse, type ConversationDeps, type Said } from './dial-conversation.js';
import { DialFailure, ExchangeInProgress, OwnFailure, toPathFailure } from './dial-failure.js';
import type { DialGuard } from './dial-guard.js';
import { allowedAddresses, type DialTarget, type Resolve } from './dial-target.js';

export interface DialTransportDeps extends ConversationDeps {
  readonly identity: ManagerIdentity;
  readonly rootPem: string;
  readonly verifier: PeerVerifier;
  /** Trusted time in Unix milliseconds. */
  readonly trustedNow: () => number;
  readonly guard: DialGuard;
  readonly resolve: Resolve;
  readonly bodies: BodyBudget;
  readonly clock: Pick<Clock, 'sleep'>;
  readonly limitsMs?: DialLimits;
}

export interface DialLimits {
  /** Name, connection and handshake. */
  readonly connectMs?: number;
  /** Everything. */
  readonly totalMs?: number;
}

/**
 * `answered`: a report is stored (`isNews`: one that was not stored before); `busy`: the agent's exchange is in flight
 * elsewhere; `own`: we could not store what it said. Only `failed` speaks of the agent; `told` is the code of the refusal
 * that it was given for its report, and took.
 */
export type DialOutcome =
  | { readonly kind: 'answered'; readonly isNews: boolean }
  | { readonly kind: 'busy' }
  | { readonly kind: 'own'; readonly retryAfterMs: number }
  | { readonly kind: 'failed'; readonly failure: DialFailure; readonly told?: string };

export interface DialTransport {
  /** Dials one computer; never throws. Ends at the latest 10 s after its begin, or soon after the signal. */
  dial(computerId: string, target: () => DialTarget, signal: AbortSignal): Promise<DialOutcome>;
}

export const DIAL_LIMITS: Required<DialLimits> = { connectMs: 3000, totalMs: 10_000 };
const OWN_RETRY_MS = 2000;
/** Refusals that are about us or about load, never about the agent. */
const OWN_PROBLEMS: ReadonlySet<string> = new Set(['unavailable', 'internal', 'too-many-requests']);

export function createDialTransport(deps: DialTransportDeps): DialTransport {
  const { identity, rootPem, clock } = deps;
  const limits = { ...DIAL_LIMITS, ...deps.limitsMs };
  const context = createSecureContext({
    ...TLS_OPTIONS,
    key: identity.keyPem,
    cert: identity.certPem + identity.chainPem,
    ca: rootPem,
  });
  return {
    async dial(computerId, target, signal) {
      const said: Said = { reports: 0, news: 0, problem: undefined, told: undefined };
      const reason = (): Error => new DialFailure('timeout', `no end within ${limits.totalMs} ms`);
      try {
        await withDeadline({ clock, milliseconds: limits.totalMs, signal, reason }, (limited) =>
          exchange({ deps, context, connectMs: limits.connectMs }, { computerId, target: target(), said }, limited),
        );
        return outcomeOf(said);
      } catch (error) {
        return signal.aborted ? { kind: 'own', retryAfterMs: OWN_RETRY_MS } : failureOf(deps, error, said);
      }
    },
  };
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
}

async function exchange(means: Means, { computerId, target, said }: Dial, signal: AbortSignal): Promise<void> {
  const { deps } = means;
  const reason = (): Error => new DialFailure('timeout', `not connected within ${means.connectMs} ms`);
  const deadline = { clock: deps.clock, milliseconds: means.connectMs, signal, reason };
  const { socket, address } = await withDeadline(deadline, (limited) => reach(means, target, limited));
  const lease = deps.bodies.lease();
  const host = address.includes(':') ? `[${address}]` : address;
  const connection = createListenerConnection(socket, host, lease);
  try {
    const identity = proveComputer(deps, socket, computerId);
    await converse(deps, { connection, identity, facts: connectionFactsOf(socket), signal }, said);
  } finally {
    connection.close();
    lease.release();
  }
}

async function reach({ deps, context }: Means, target: DialTarget, signal: AbortSignal) {
  let failure: unknown = new DialFailure('dns', 'the name has no address');
  for (const address of await allowedAddresses(deps, target, signal)) {
    try {
      return { address, socket: await openSocket({ address, port: target.port, context, signal }) };
    } catch (error) {
      failure = error;
      if (signal.aborted) break;
    }
  }
  throw failure;
}

/** The peer must prove that very computer, by trusted time. */
function proveComputer(
  { verifier, trustedNow }: DialTransportDeps,
  socket: TLSSocket,
  computerId: string,
): PeerIdentity {
  const state = verifier.verify(socket);
  if (state.kind === 'absent') throw new DialFailure('tls-unknown-ca', 'the peer presented no certificate');
  if (state.kind === 'refused') throw toPathFailure(state.reason, state.detail);
  if (state.identity.computerId !== computerId)
    throw new DialFailure('tls-other-computer', `the peer proves computer ${state.identity.computerId}`);
  return identityOf(state, trustedNow());
}

function outcomeOf({ reports, news, problem, told }: Said): DialOutcome {
  if (reports > 0) return { kind: 'answered', isNews: news > 0 };
  if (!problem) return { kind: 'failed', failure: new DialFailure('protocol', 'the agent had no report') };
  if (OWN_PROBLEMS.has(problem.code))
    return { kind: 'own', retryAfterMs: (problem.facts.retryAfterSeconds ?? 0) * 1000 || OWN_RETRY_MS };
  const failure = new DialFailure('protocol', `the report was refused: ${problem.code}`);
  return { kind: 'failed', failure, ...(told ? { told: told.code } : {}) };
}

/** Whatever the network or the peer did was named where it happened. */
function failureOf({ log }: DialTransportDeps, error: unknown, said: Said): DialOutcome {
  // What was stored is contact; an agent that then falls silent repeats the rest next time.
  if (said.reports > 0 || said.problem) return outcomeOf(said);
  if (error instanceof ExchangeInProgress) return { kind: 'busy' };
  if (error instanceof DialFailure && !(error instanceof OwnFailure)) return { kind: 'failed', failure: error };
  if (!(error instanceof OwnFailure)) log.error({ err: error }, 'A dial failed by a fault of ours');
  return { kind: 'own', retryAfterMs: OWN_RETRY_MS };
}
