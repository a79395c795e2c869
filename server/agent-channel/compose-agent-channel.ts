import type { CertificateAuthority } from '../../certs/certificate-authority.js';
import type { ManagerIdentity } from '../../certs/manager-identity.js';
import type { Log } from '../../lib/log.js';
import type { Random } from '../../lib/random.js';
import type { FleetClock } from '../fleet-clock/fleet-clock.js';
import type { ListeningLedger } from '../listening/listening.js';
import { createAgentRoutes, type AgentRoutesDeps } from './agent-routes.js';
import { createAgentServer, type AgentServer, type AgentTimeouts } from './agent-server.js';
import { createBodyBudget } from '../../lib/body-reader.js';
import { createPeerVerifier } from './peer-identity.js';
import { createPeerLimits, type PeerLimits, type PeerLimitsOptions } from './peer-limits.js';

export interface AgentChannelDeps extends Pick<
  AgentRoutesDeps,
  'submit' | 'refusalOf' | 'enroll' | 'upload' | 'noteMismatch'
> {
  readonly authority: CertificateAuthority;
  readonly identity: ManagerIdentity;
  readonly fleetClock: FleetClock;
  readonly random: Random;
  readonly log: Log;
  readonly listening: Pick<ListeningLedger, 'noteDeaf'>;
  /** This process's name in the listening ledger. */
  readonly listener: string;
  readonly host?: string | undefined;
  readonly port: number;
  readonly maxConnections?: number;
  readonly maxBodyBytesHeld?: number;
  readonly stopGraceMs?: number;
  readonly limits?: PeerLimitsOptions;
  /** Limits that are kept elsewhere, instead of `limits`. */
  readonly peerLimits?: PeerLimits;
  readonly timeouts?: AgentTimeouts;
  readonly noteThrottled?: () => void;
  readonly noteRefusal?: AgentRoutesDeps['noteRefusal'];
}

const BODY_BYTES_HELD = 256 * 1024 * 1024;

/** The agent port: everything between a TCP connection and the exchange. */
export function composeAgentChannel(deps: AgentChannelDeps): AgentServer {
  const { authority, fleetClock, random, log, listening } = deps;
  const trustedNow = (): number => fleetClock.trustedTime();
  const verifier = createPeerVerifier({
    root: authority.root,
    intermediateDer: authority.intermediate.raw,
    trustDomain: authority.trustDomain,
    trustedNow,
  });
  const limits = deps.peerLimits ?? createPeerLimits(deps.limits ?? {}, () => fleetClock.monotonic());
  const handle = createAgentRoutes({
    random,
    log,
    limits,
    trustedNow,
    fleet: () => fleetClock.fleet(),
    bodies: createBodyBudget(deps.maxBodyBytesHeld ?? BODY_BYTES_HELD),
    listener: deps.listener,
    submit: deps.submit,
    refusalOf: deps.refusalOf,
    enroll: deps.enroll,
    upload: deps.upload,
    noteMismatch: deps.noteMismatch,
    noteRefusedHeartbeat: () => listening.noteDeaf('refused-heartbeats'),
    noteThrottled: () => deps.noteThrottled?.(),
    noteRefusal: (refusal) => deps.noteRefusal?.(refusal),
  });
  return createAgentServer({
    identity: deps.identity,
    rootPem: authority.rootPem,
    verifier,
    limits,
    timeouts: deps.timeouts,
    handle,
    clock: fleetClock,
    random,
    log,
    noteShed: () => listening.noteDeaf('refused-heartbeats'),
    host: deps.host,
    port: deps.port,
    ...(deps.maxConnections === undefined ? {} : { maxConnections: deps.maxConnections }),
    ...(deps.stopGraceMs === undefined ? {} : { stopGraceMs: deps.stopGraceMs }),
  });
}
