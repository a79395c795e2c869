import type { IncomingMessage, ServerResponse } from 'node:http';
import { parseBoundedJson } from '../../lib/bounded-json.js';
import type { Log } from '../../lib/log.js';
import { Problem } from '../../lib/problem.js';
import type { Random } from '../../lib/random.js';
import { enrollRequestSchema, type EnrollRequest, type EnrollResponse } from '../../protocol/enrollment-messages.js';
import { MAX_REPORT_BYTES, type Orders } from '../../protocol/heartbeat-messages.js';
import { AGENT_PATHS } from '../../protocol/protocol-version.js';
import { renewRequestSchema, type RenewResponse } from '../../protocol/renewal-messages.js';
import { MAX_UPLOAD_BODY_BYTES, uploadPartSchema, type UploadPart } from '../../protocol/upload-messages.js';
import type { LateRenewals } from '../certificates/late-renewals.js';
import type { FleetInstant } from '../fleet-clock/fleet-clock.js';
import type { Exchange } from '../heartbeats/exchange.js';
import type { AgentRequestHandler, PeerConnection } from './agent-server.js';
import { sendJson, sendProblem } from '../../lib/http-answer.js';
import { ClientGone, discardBody, readBody, type BodyBudget } from '../../lib/body-reader.js';
import { expiredPeerOf, identityOf, provenComputerOf } from './peer-identity.js';
import { tooMany, type PeerLimits } from './peer-limits.js';
import { readMessage, type ReportIntake } from './report-intake.js';
import { assertJsonBody, assertUnambiguous } from '../../lib/request-guard.js';

export const MAX_ENROLL_BYTES = 64 * 1024;

export interface AgentRoutesDeps {
  readonly random: Random;
  readonly log: Log;
  readonly bodies: BodyBudget;
  readonly limits: Pick<PeerLimits, 'admitRequest'>;
  /** The fleet instant of a receipt. */
  readonly fleet: () => FleetInstant;
  /** Trusted time in Unix milliseconds, by which certificates are judged. */
  readonly trustedNow: () => number;
  readonly intake: ReportIntake;
  readonly enroll: (request: EnrollRequest, address: string | null) => Promise<EnrollResponse>;
  /** Renews a certificate that has expired; throws a Problem. Nothing is renewed so unless given. */
  readonly renewLate?: LateRenewals['renew'] | undefined;
  /** Why nothing is taken of a computer, whatever it says; undefined where it is. */
  readonly refusalOf: (identity: Exchange['identity']) => Promise<Problem | undefined>;
  /** Stores a part of a file that a command of this computer brings; throws a Problem. */
  readonly upload: (computerId: string, part: UploadPart) => Promise<unknown>;
  /** A heartbeat was turned away before it was read. */
  readonly noteRefusedHeartbeat: () => void;
  /** A computer or an address went over its own limits, which makes nobody deaf. */
  readonly noteThrottled: () => void;
  /** A computer was refused whose certificate had proven which one it is, if only its dates are wrong. Never waits. */
  readonly noteRefusal: (refusal: ComputerRefusal) => void;
}

export interface ComputerRefusal {
  readonly computerId: string;
  readonly problem: Problem;
  readonly address: string | null;
  readonly at: FleetInstant;
}

const CONNECTION_RETRY_MS = 2000;

interface Call {
  readonly connection: PeerConnection;
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
}

type Route = (call: Call) => Promise<unknown>;

/** The routes of the agent port; every failure is an `application/problem+json` document. */
export function createAgentRoutes(deps: AgentRoutesDeps): AgentRequestHandler {
  const routes = new Map<string, Route>([
    [AGENT_PATHS.heartbeat, (call) => heartbeat(deps, call)],
    [AGENT_PATHS.enroll, (call) => enroll(deps, call)],
    [AGENT_PATHS.upload, (call) => upload(deps, call)],
    [AGENT_PATHS.renew, (call) => renew(deps, call)],
  ]);
  return (connection, request, response) => {
    const requestId = deps.random.uuid();
    const call = { connection, request, response };
    void answer(routes, call)
      .then((body) => sendJson(response, body))
      .catch((error: unknown) => refuse(deps, { ...call, requestId }, error))
      .finally(() => discardBody(request))
      .catch(() => request.socket.destroy());
  };
}

async function answer(routes: ReadonlyMap<string, Route>, call: Call): Promise<unknown> {
  const { peer, isOverLimit } = call.connection;
  // Only who is a computer of ours may hold a connection between two requests.
  if (isOverLimit || peer.kind !== 'identified') call.response.shouldKeepAlive = false;
  if (isOverLimit) throw tooMany('This computer or address has too many connections open.', CONNECTION_RETRY_MS);
  const path = assertUnambiguous(call.request);
  if (isAdminPath(path))
    throw new Problem('forbidden', { detail: 'A certificate proves a computer and no role; use the admin port.' });
  const route = routes.get(path);
  if (!route)
    throw new Problem('route-not-found', {
      detail: 'The agent port serves enrollment, heartbeats, uploads and renewal.',
    });
  if (call.request.method !== 'POST') throw new Problem('method-not-allowed', { detail: 'Use POST.' });
  return route(call);
}

/** Whoever asks, with whatever cookie or key: nothing of the admin API is behind this port. */
function isAdminPath(path: string): boolean {
  return path === '/api' || path.startsWith('/api/');
}

function refuse(deps: AgentRoutesDeps, call: Call & { requestId: string }, error: unknown): void {
  if (error instanceof ClientGone) return;
  const { connection, request, response, requestId } = call;
  const problem = error instanceof Problem ? error : new Problem('internal', {}, error);
  const facts = { requestId, code: problem.code, address: connection.address, path: request.url?.slice(0, 100) };
  if (problem.code === 'internal') deps.log.error({ ...facts, err: error }, 'A request on the agent port failed');
  else deps.log.debug(facts, 'A request on the agent port was refused');
  if (request.url !== AGENT_PATHS.enroll) noteProblem(deps, connection, problem);
  else if (problem.code === 'too-many-requests') deps.noteThrottled();
  sendProblem(response, problem, requestId);
}

/** Counts a refusal, and remembers it of the computer that the connection's certificate proves. */
export function noteProblem(
  deps: Pick<AgentRoutesDeps, 'noteThrottled' | 'noteRefusal' | 'fleet'>,
  { peer, address }: PeerConnection,
  problem: Problem,
): void {
  if (problem.code === 'too-many-requests') deps.noteThrottled();
  const computerId = provenComputerOf(peer);
  if (computerId === undefined) return;
  deps.noteRefusal({ computerId, problem, address, at: Math.floor(deps.fleet()) });
}

async function heartbeat(deps: AgentRoutesDeps, call: Call): Promise<Orders> {
  const { connection } = call;
  const { intake } = deps;
  const identity = identityOf(connection.peer, deps.trustedNow());
  deps.limits.admitRequest(identity.computerId);
  const onOverload = deps.noteRefusedHeartbeat;
  try {
    return await withBody(deps, { ...call, maxBytes: MAX_REPORT_BYTES, onOverload }, (body) =>
      intake.take({ connection, identity, body, value: parseBoundedJson(body) }),
    );
  } catch (error) {
    throw await intake.explain(identity, error);
  }
}

function enroll(deps: AgentRoutesDeps, call: Call): Promise<EnrollResponse> {
  return withBody(deps, { ...call, maxBytes: MAX_ENROLL_BYTES, onOverload: () => undefined }, (body) =>
    deps.enroll(readMessage(enrollRequestSchema, parseBoundedJson(body)), call.connection.address),
  );
}

async function upload(deps: AgentRoutesDeps, call: Call): Promise<unknown> {
  const identity = identityOf(call.connection.peer, deps.trustedNow());
  deps.limits.admitRequest(identity.computerId);
  const refusal = await deps.refusalOf(identity);
  if (refusal) throw refusal;
  return withBody(deps, { ...call, maxBytes: MAX_UPLOAD_BODY_BYTES, onOverload: () => undefined }, (body) =>
    deps.upload(identity.computerId, readMessage(uploadPartSchema, parseBoundedJson(body))),
  );
}

/** Whose certificate has expired may do this and nothing else. */
async function renew(deps: AgentRoutesDeps, call: Call): Promise<RenewResponse> {
  const { renewLate } = deps;
  const peer = expiredPeerOf(call.connection.peer, deps.trustedNow());
  if (!renewLate) throw new Problem('renewal-refused', { detail: 'This manager renews nothing that has expired.' });
  deps.limits.admitRequest(peer.id);
  return withBody(deps, { ...call, maxBytes: MAX_ENROLL_BYTES, onOverload: () => undefined }, (body) =>
    renewLate(peer, readMessage(renewRequestSchema, parseBoundedJson(body))),
  );
}

interface BodyCall extends Call {
  readonly maxBytes: number;
  readonly onOverload: () => void;
}

async function withBody<T>(deps: AgentRoutesDeps, call: BodyCall, use: (body: Buffer) => Promise<T>): Promise<T> {
  const { request, response, maxBytes } = call;
  assertJsonBody(request, maxBytes);
  if (request.headers.expect !== undefined) response.writeContinue();
  const lease = deps.bodies.lease();
  try {
    return await use(await readBody(request, maxBytes, lease));
  } catch (error) {
    if (error instanceof Problem && error.code === 'unavailable' && !request.complete) call.onOverload();
    throw error;
  } finally {
    lease.release();
  }
}
