import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import type { TLSSocket } from 'node:tls';

import { ClientGone, createBodyBudget, discardBody, readBody } from '../../lib/body-reader.js';
import { parseBoundedJson } from '../../lib/bounded-json.js';
import { sendJson, sendProblem } from '../../lib/http-answer.js';
import type { Log } from '../../lib/log.js';
import { Problem } from '../../lib/problem.js';
import type { Random } from '../../lib/random.js';
import { assertJsonBody, assertUnambiguous } from '../../lib/request-guard.js';
import { isPlainObject, readBy, type Schema } from '../../lib/schema.js';
import { listenerCallSchema, MAX_LISTENER_CALL_BYTES, type ListenerCall } from '../../protocol/listener-messages.js';
import {
  LISTENER_PATHS,
  NEWEST_PROTOCOL_VERSION,
  OLDEST_PROTOCOL_VERSION,
  PROTOCOL_VERSION,
} from '../../protocol/protocol-version.js';
import { listenerRenewalCallSchema } from '../../protocol/renewal-messages.js';
import type { Carrier } from '../direction-rules.js';
import type { Renewal } from '../renewal.js';
import type { ManagerConnection } from '../transport/tls-connection.js';
import { ManagerRefusal, toTransportError, TransportError } from '../transport/transport-error.js';
import { DialledConnection } from './dialled-connection.js';

/** Bodies that all connections hold at once. */
const MAX_BYTES_HELD = 4 * MAX_LISTENER_CALL_BYTES;
const DATE_CODES: ReadonlySet<string> = new Set(['tls-expired', 'tls-not-yet-valid']);

export interface ListenerCallsDeps {
  readonly computerId: string;
  readonly random: Random;
  readonly log: Log;
  /** Reads a peer's certificates; the answer throws `TransportError` unless it is a manager of ours at that moment, and answers what it tolerated. */
  readonly recognise: (socket: TLSSocket) => () => TransportError | undefined;
  /** Whether the peer may still reach the port: the list can have changed since the handshake. */
  readonly admits: (address: string | undefined) => boolean;
  /** The carrier of this port for a peer. */
  readonly carrierOf: (address: string | undefined) => Carrier;
  /** Asks for, and takes, another certificate for the key in use, which a manager renews that finds it expired. */
  readonly renewal: Pick<Renewal, 'requestAgain' | 'take'>;
  /** Runs an exchange; undefined where another one is in flight. */
  readonly exchange: (connection: ManagerConnection) => Promise<void> | undefined;
}

export interface ListenerCalls {
  /** Judges a peer at its handshake; answers whether it is a manager. */
  verify(socket: TLSSocket): boolean;
  /** Judges the peer again with every call. */
  handle(request: IncomingMessage, response: ServerResponse): void;
}

interface Verdict {
  /** Why the peer is refused, whatever it asks for. */
  readonly refusal: Problem | undefined;
  readonly warning: TransportError | undefined;
}

/** What is known of one connection. */
interface Peer {
  readonly judge: () => Verdict;
  conversation: DialledConnection | undefined;
}

interface Arrival {
  readonly peer: Peer;
  /** Of this moment: dates can have passed since the handshake. */
  readonly verdict: Verdict;
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
}

/** The one route of the listener. Every refusal is a problem document and ends the connection. */
export function createListenerCalls(deps: ListenerCallsDeps): ListenerCalls {
  const peers = new WeakMap<object, Peer>();
  const bodies = createBodyBudget(MAX_BYTES_HELD);
  const answer = async (arrival: Arrival): Promise<void> => {
    const path = assertServed(arrival);
    const lease = bodies.lease();
    try {
      assertJsonBody(arrival.request, MAX_LISTENER_CALL_BYTES);
      if (arrival.request.headers.expect !== undefined) arrival.response.writeContinue();
      const body = await readBody(arrival.request, MAX_LISTENER_CALL_BYTES, lease);
      if (path === LISTENER_PATHS.renewal) return await renew(deps, arrival, body);
      const call = readCall(body, deps.computerId, listenerCallSchema);
      if (call.orders || call.uploaded || call.problem) goOn(arrival, call);
      else begin(deps, arrival);
    } finally {
      lease.release();
    }
  };
  return {
    verify(socket) {
      const peer: Peer = { judge: judgeOf(deps, socket), conversation: undefined };
      peers.set(socket, peer);
      socket.once('close', () => peer.conversation?.lose());
      return peer.judge().refusal === undefined;
    },
    handle(request, response) {
      const peer = peers.get(request.socket);
      if (!peer) return void request.socket.destroy();
      void answer({ peer, verdict: peer.judge(), request, response })
        .catch((error: unknown) => refuse(deps, response, error))
        .finally(() => discardBody(request))
        .catch(() => request.socket.destroy());
    },
  };
}

function judgeOf({ recognise }: ListenerCallsDeps, socket: TLSSocket): () => Verdict {
  // In this order and once: `getPeerX509Certificate` makes Node forget the first issuer that the peer sent.
  const isManager = recognise(socket);
  const isAbsent = socket.getPeerX509Certificate() === undefined;
  return () => {
    try {
      return { refusal: undefined, warning: isManager() };
    } catch (error) {
      return { refusal: isAbsent ? NO_CERTIFICATE : refusalOf(error), warning: undefined };
    }
  };
}

const NO_CERTIFICATE = new Problem('certificate-required', { detail: "Show a manager's certificate." });

function refusalOf(error: unknown): Problem {
  const isDate = error instanceof TransportError && DATE_CODES.has(error.code);
  const detail = isDate
    ? `The certificate is outside its dates by this computer's trusted time: ${error.message}.`
    : "The certificate is not one of this computer's manager.";
  return new Problem(isDate ? 'clock-skew' : 'certificate-refused', { detail }, error);
}

/** Answers the path. */
function assertServed({ verdict, request }: Arrival): string {
  if (verdict.refusal) throw verdict.refusal;
  const path = assertUnambiguous(request);
  if (!SERVED.has(path))
    throw new Problem('route-not-found', { detail: 'The listener serves the heartbeats of a manager.' });
  if (request.method !== 'POST') throw new Problem('method-not-allowed', { detail: 'Use POST.' });
  return path;
}

const SERVED: ReadonlySet<string> = new Set(Object.values(LISTENER_PATHS));

/** A manager that finds the certificate expired asks for a request, and brings what was issued for it. */
async function renew(deps: ListenerCallsDeps, { request, response }: Arrival, body: Buffer): Promise<void> {
  const { computerId, renewal } = deps;
  const { renewed } = readCall(body, computerId, listenerRenewalCallSchema);
  assertAdmitted(deps, request.socket.remoteAddress);
  response.shouldKeepAlive = renewed === undefined;
  if (!renewed) return sendJson(response, { protocolVersion: PROTOCOL_VERSION, ...renewal.requestAgain() });
  await renewal.take(renewed);
  response.writeHead(204, { 'Cache-Control': 'no-store' });
  response.end();
}

function readCall<Call extends { readonly computerId: string }>(
  body: Buffer,
  computerId: string,
  schema: Schema<Call>,
): Call {
  const message = parseBoundedJson(body);
  const version = isPlainObject(message) ? message['protocolVersion'] : undefined;
  const isSpoken =
    typeof version !== 'number' || (version >= OLDEST_PROTOCOL_VERSION && version <= NEWEST_PROTOCOL_VERSION);
  if (!isSpoken)
    throw new Problem('protocol-version-unsupported', {
      detail: `This agent speaks versions ${OLDEST_PROTOCOL_VERSION} to ${NEWEST_PROTOCOL_VERSION}.`,
    });
  const call = readBy(schema, message);
  if (call.computerId !== computerId)
    throw new Problem('identity-mismatch', { detail: 'The call is meant for another computer.' });
  return call;
}

function assertAdmitted({ admits }: ListenerCallsDeps, address: string | undefined): void {
  if (!admits(address)) throw new Problem('forbidden', { detail: 'This address may not reach the listener.' });
}

/** The call answers the report that waits on its connection. */
function goOn({ peer, response }: Arrival, call: ListenerCall): void {
  if (peer.conversation?.deliver(call, response)) return;
  const detail = 'No report of this connection waits for an answer: begin with a call that carries none.';
  throw new Problem('request-invalid', { detail, errors: [{ pointer: '#', detail }] });
}

/** The first call of a connection. */
function begin(deps: ListenerCallsDeps, { peer, verdict, request, response }: Arrival): void {
  const address = request.socket.remoteAddress;
  assertAdmitted(deps, address);
  const connection = new DialledConnection(response, { carrier: deps.carrierOf(address), warning: verdict.warning });
  const exchange = peer.conversation ? undefined : deps.exchange(connection);
  if (!exchange)
    throw new Problem('exchange-in-progress', { detail: 'The orders ride on the exchange that is in flight.' });
  peer.conversation = connection;
  void exchange
    .then(
      () => endConversation(connection, request.socket),
      (error: unknown) => failConversation(deps, { connection, error, socket: request.socket }),
    )
    .finally(() => (peer.conversation = undefined));
}

/** With or without a call to answer, the connection is over. */
function endConversation(connection: DialledConnection, socket: Socket): void {
  const call = connection.takeCall();
  connection.lose();
  if (!call) return void socket.destroy();
  call.shouldKeepAlive = false;
  call.writeHead(204, { 'Cache-Control': 'no-store' });
  call.end();
}

interface FailedConversation {
  readonly connection: DialledConnection;
  readonly error: unknown;
  readonly socket: Socket;
}

function failConversation(deps: ListenerCallsDeps, { connection, error, socket }: FailedConversation): void {
  // The manager knows why: it refused the report itself.
  if (error instanceof ManagerRefusal) return endConversation(connection, socket);
  const failure = toTransportError(error);
  const isEnding = error instanceof Error && error.name === 'AbortError';
  if (failure.code !== 'unknown' || isEnding)
    deps.log.info({ code: failure.code }, 'A dial of the manager ended early');
  else deps.log.error({ err: error }, 'A dial of the manager failed for an unexpected reason');
  const call = connection.takeCall();
  connection.lose();
  if (call) refuse(deps, call, new Problem('unavailable', { detail: 'The agent could not go on.' }));
  else socket.destroy();
}

function refuse({ log, random }: ListenerCallsDeps, response: ServerResponse, error: unknown): void {
  if (error instanceof ClientGone) return;
  const isOurs = !(error instanceof Problem);
  if (isOurs) log.error({ err: error }, 'A call to the listener failed');
  const problem = isOurs ? new Problem('unavailable', { detail: 'The agent failed; its log tells more.' }) : error;
  log.debug({ code: problem.code, address: response.socket?.remoteAddress }, 'A call to the listener was refused');
  if (!response.headersSent) response.shouldKeepAlive = false;
  sendProblem(response, problem, random.uuid());
}
