import type { IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import type { TLSSocket } from 'node:tls';
import { WebSocketServer } from 'ws';
import type { BodyBudget } from '../../lib/body-reader.js';
import { endWithProblem } from '../../lib/http-answer.js';
import type { Log } from '../../lib/log.js';
import { Problem } from '../../lib/problem.js';
import type { Random } from '../../lib/random.js';
import { assertUnambiguous } from '../../lib/request-guard.js';
import { CHANNEL_SUBPROTOCOL, MAX_AGENT_MESSAGE_BYTES, type ReportMessage } from '../../protocol/channel-messages.js';
import type { Orders } from '../../protocol/heartbeat-messages.js';
import { AGENT_PATHS } from '../../protocol/protocol-version.js';
import type { ChannelPeer, Channels } from '../channels/channels.js';
import type { ChannelUpgrade, PeerConnection } from './agent-server.js';
import { identityOf, type PeerIdentity } from './peer-identity.js';
import { tooMany, type PeerLimits } from './peer-limits.js';
import type { ReportIntake } from './report-intake.js';

export interface ChannelUpgradesDeps {
  readonly random: Random;
  readonly log: Log;
  readonly channels: Pick<Channels, 'assertRoom' | 'accept'>;
  readonly limits: Pick<PeerLimits, 'admitRequest'>;
  readonly bodies: BodyBudget;
  readonly intake: ReportIntake;
  /** Trusted time in Unix milliseconds, by which certificates are judged. */
  readonly trustedNow: () => number;
  /** Told of every problem, as the routes are. */
  readonly noteProblem: (connection: PeerConnection, problem: Problem) => void;
}

const CONNECTION_RETRY_MS = 2000;
/** Ours come in one; others may split what they say, within reason. */
const MOST_FRAGMENTS = 256;
const MOST_CHUNKS = 4096;
const CLOSE_TIMEOUT_MS = 3000;

const SERVER_OPTIONS = {
  noServer: true,
  clientTracking: false,
  perMessageDeflate: false,
  maxPayload: MAX_AGENT_MESSAGE_BYTES,
  maxFragments: MOST_FRAGMENTS,
  maxBufferedChunks: MOST_CHUNKS,
  closeTimeout: CLOSE_TIMEOUT_MS,
  handleProtocols: () => CHANNEL_SUBPROTOCOL,
};

/** The WebSocket of the agent port: the same peer verification as for requests, judged before anything is switched. */
export function createChannelUpgrades(deps: ChannelUpgradesDeps): ChannelUpgrade {
  const { random, log } = deps;
  const server = new WebSocketServer(SERVER_OPTIONS);
  const refuse = (connection: PeerConnection, socket: Duplex, error: unknown): void => {
    const problem = error instanceof Problem ? error : new Problem('internal', {}, error);
    const requestId = random.uuid();
    if (problem.code === 'internal') log.error({ err: error, requestId }, 'An upgrade on the agent port failed');
    else log.debug({ requestId, code: problem.code, address: connection.address }, 'An upgrade was refused');
    deps.noteProblem(connection, problem);
    endWithProblem(socket, problem, requestId);
  };
  server.on('wsClientError', (error, socket) => endWithProblem(socket, noHandshake(error), random.uuid()));
  return (connection, { request, socket, head }) => {
    // Nobody else listens to it now.
    socket.on('error', () => socket.destroy());
    try {
      const identity = admit(deps, connection, request);
      server.handleUpgrade(request, socket, head, (webSocket) =>
        deps.channels.accept(webSocket, peerOf(deps, { connection, identity, socket: socket as TLSSocket })),
      );
    } catch (error) {
      refuse(connection, socket, error);
    }
  };
}

function noHandshake({ message }: Error): Problem {
  return new Problem('request-invalid', { detail: `The handshake is none of RFC 6455: ${message}.` });
}

function admit(deps: ChannelUpgradesDeps, connection: PeerConnection, request: IncomingMessage): PeerIdentity {
  if (connection.isOverLimit)
    throw tooMany('This computer or address has too many connections open.', CONNECTION_RETRY_MS);
  if (assertUnambiguous(request) !== AGENT_PATHS.channel)
    throw new Problem('route-not-found', { detail: 'No protocol switch is served here.' });
  const identity = identityOf(connection.peer, deps.trustedNow());
  deps.limits.admitRequest(identity.computerId);
  const offered = (request.headers['sec-websocket-protocol'] ?? '').split(',').map((name) => name.trim());
  if (!offered.includes(CHANNEL_SUBPROTOCOL))
    throw new Problem('request-invalid', { detail: `The subprotocol must be ${CHANNEL_SUBPROTOCOL}.` });
  deps.channels.assertRoom();
  return identity;
}

interface Upgraded {
  readonly connection: PeerConnection;
  readonly identity: PeerIdentity;
  readonly socket: TLSSocket;
}

function peerOf(deps: ChannelUpgradesDeps, { connection, identity, socket }: Upgraded): ChannelPeer {
  const { computerId, serial } = identity;
  return {
    computerId,
    serial,
    assertValid: () => void identityOf(connection.peer, deps.trustedNow()),
    admitMessage: () => deps.limits.admitRequest(computerId),
    submit: (report) => submit(deps, connection, report),
    bytesRead: () => socket.bytesRead,
    bytesUnread: () => socket.writableLength,
  };
}

async function submit(deps: ChannelUpgradesDeps, connection: PeerConnection, report: ReportMessage): Promise<Orders> {
  const { intake, bodies } = deps;
  const lease = bodies.lease();
  try {
    const identity = identityOf(connection.peer, deps.trustedNow());
    if (!lease.take(report.body.length)) throw BUSY;
    try {
      const { body, value } = report;
      return await intake.take({ connection, identity, body, value });
    } catch (error) {
      throw await intake.explain(identity, error);
    }
  } catch (error) {
    if (error instanceof Problem) deps.noteProblem(connection, error);
    throw error;
  } finally {
    lease.release();
  }
}

const BUSY = new Problem('unavailable', { detail: 'Too many reports are being received.', retryAfterSeconds: 2 });
