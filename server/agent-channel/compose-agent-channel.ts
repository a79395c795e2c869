import type { CertificateAuthority } from '../../certs/certificate-authority.js';
import type { ManagerIdentity } from '../../certs/manager-identity.js';
import type { Log } from '../../lib/log.js';
import type { Random } from '../../lib/random.js';
import type { FleetClock } from '../fleet-clock/fleet-clock.js';
import type { ListeningLedger } from '../listening/listening.js';
import type { Channels } from '../channels/channels.js';
import { createAgentRoutes, noteProblem, type AgentRoutesDeps, type ComputerRefusal } from './agent-routes.js';
import { createAgentServer, type AgentServer, type AgentTimeouts } from './agent-server.js';
import { createBodyBudget } from '../../lib/body-reader.js';
import { createChannelUpgrades } from './channel-upgrades.js';
import { createPeerVerifier } from './peer-identity.js';
import { createReportIntake, type ReportIntakeDeps } from './report-intake.js';
import { createPeerLimits, type PeerLimits, type PeerLimitsOptions } from './peer-limits.js';

export interface AgentChannelDeps
  extends
    Pick<AgentRoutesDeps, 'enroll' | 'upload' | 'renewLate'>,
    Pick<ReportIntakeDeps, 'submit' | 'refusalOf' | 'noteMismatch'> {
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
  /** What holds channels; without it every exchange is a request. */
  readonly channels?: Pick<Channels, 'assertRoom' | 'accept'>;
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
  const bodies = createBodyBudget(deps.maxBodyBytesHeld ?? BODY_BYTES_HELD);
  const fleet = () => fleetClock.fleet();
  const { listener, submit, refusalOf, noteMismatch, channels } = deps;
  const intake = createReportIntake({ log, limits, fleet, listener, submit, refusalOf, noteMismatch });
  const notes = {
    fleet,
    noteThrottled: () => deps.noteThrottled?.(),
    noteRefusal: (refusal: ComputerRefusal) => deps.noteRefusal?.(refusal),
  };
  const shared = { random, log, limits, trustedNow, bodies, intake };
  const handle = createAgentRoutes({
    ...shared,
    ...notes,
    enroll: deps.enroll,
    upload: deps.upload,
    renewLate: deps.renewLate,
    refusalOf,
    noteRefusedHeartbeat: () => listening.noteDeaf('refused-heartbeats'),
  });
  const upgrade =
    channels &&
    createChannelUpgrades({
      ...shared,
      channels,
      noteProblem: (connection, problem) => noteProblem(notes, connection, problem),
    });
  return createAgentServer({
    identity: deps.identity,
    rootPem: authority.rootPem,
    verifier,
    limits,
    timeouts: deps.timeouts,
    handle,
    upgrade,
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
