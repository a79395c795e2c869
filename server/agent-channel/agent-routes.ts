import { hash } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { parseBoundedJson } from '../../lib/bounded-json.js';
import type { Log } from '../../lib/log.js';
import { Problem } from '../../lib/problem.js';
import type { Random } from '../../lib/random.js';
import { isPlainObject, readBy, type Schema } from '../../lib/schema.js';
import { enrollRequestSchema, type EnrollRequest, type EnrollResponse } from '../../protocol/enrollment-messages.js';
import { MAX_REPORT_BYTES, reportSchema, type Orders } from '../../protocol/heartbeat-messages.js';
import { MAX_UPLOAD_BODY_BYTES, uploadPartSchema, type UploadPart } from '../../protocol/upload-messages.js';
import { AGENT_PATHS, NEWEST_PROTOCOL_VERSION, OLDEST_PROTOCOL_VERSION } from '../../protocol/protocol-version.js';
import type { FleetInstant } from '../fleet-clock/fleet-clock.js';
import type { Exchange } from '../heartbeats/exchange.js';
import type { IdentityMismatch } from '../heartbeats/identity-mismatch.js';
import type { AgentRequestHandler, PeerConnection } from './agent-server.js';
import { sendJson, sendProblem } from '../../lib/http-answer.js';
import { ClientGone, discardBody, readBody, type BodyBudget } from '../../lib/body-reader.js';
import { identityOf, provenComputerOf, type PeerIdentity } from './peer-identity.js';
import { tooMany, type PeerLimits } from './peer-limits.js';
import { assertJsonBody, assertUnambiguous } from '../../lib/request-guard.js';

export const MAX_ENROLL_BYTES = 64 * 1024;

export interface AgentRoutesDeps {
  readonly random: Random;
  readonly log: Log;
  readonly bodies: BodyBudget;
  readonly limits: Pick<PeerLimits, 'admitRequest' | 'admitEvents' | 'pace'>;
  /** The fleet instant of a receipt. */
  readonly fleet: () => FleetInstant;
  /** Trusted time in Unix milliseconds, by which certificates are judged. */
  readonly trustedNow: () => number;
  /** This process's name in the listening ledger. */
  readonly listener: string;
  /** Answers after the report's effects are committed; throws a Problem. */
  readonly submit: (exchange: Exchange) => Promise<Orders>;
  /** Why a computer's reports are refused whatever they say; undefined where they are not. Asked for bad reports only. */
  readonly refusalOf: (identity: Exchange['identity']) => Promise<Problem | undefined>;
  readonly enroll: (request: EnrollRequest, address: string | null) => Promise<EnrollResponse>;
  /** Stores a part of a file that a command of this computer brings; throws a Problem. */
  readonly upload: (computerId: string, part: UploadPart) => Promise<unknown>;
  readonly noteMismatch: (mismatch: IdentityMismatch) => Promise<void>;
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
    throw new Problem('route-not-found', { detail: 'The agent port serves enrollment, heartbeats and uploads.' });
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
  if (problem.code === 'too-many-requests') deps.noteThrottled();
  noteRefusal(deps, call, problem);
  sendProblem(response, problem, requestId);
}

function noteRefusal(deps: AgentRoutesDeps, { connection, request }: Call, problem: Problem): void {
  const computerId = provenComputerOf(connection.peer);
  if (computerId === undefined || request.url === AGENT_PATHS.enroll) return;
  deps.noteRefusal({ computerId, problem, address: connection.address, at: Math.floor(deps.fleet()) });
}

async function heartbeat(deps: AgentRoutesDeps, call: Call): Promise<Orders> {
  const identity = identityOf(call.connection.peer, deps.trustedNow());
  deps.limits.admitRequest(identity.computerId);
  const onOverload = deps.noteRefusedHeartbeat;
  try {
    return await withBody(deps, { ...call, maxBytes: MAX_REPORT_BYTES, onOverload }, (body) =>
      takeReport(deps, { call, identity, body }),
    );
  } catch (error) {
    if (error instanceof Problem && ABOUT_THE_REPORT.has(error.code)) throw (await deps.refusalOf(identity)) ?? error;
    throw error;
  }
}

/** Whoever is revoked or removed learns that, and nothing of what is wrong with its report. */
const ABOUT_THE_REPORT: ReadonlySet<string> = new Set([
  'request-invalid',
  'content-type-unsupported',
  'body-too-large',
  'protocol-version-unsupported',
]);

interface Arrived {
  readonly call: Call;
  readonly identity: PeerIdentity;
  readonly body: Buffer;
}

async function takeReport(deps: AgentRoutesDeps, { call, identity, body }: Arrived): Promise<Orders> {
  const receivedAt = Math.floor(deps.fleet());
  const report = readMessage(reportSchema, body);
  if (report.computerId !== undefined && report.computerId !== identity.computerId)
    return refuseMismatch(deps, { call, identity, claimedId: report.computerId, receivedAt });
  const { address, tls } = call.connection;
  const { computerId, serial } = identity;
  deps.limits.admitEvents(computerId, report, body.length);
  const orders = await deps.submit({
    identity: { computerId, serial },
    receivedAt,
    listener: deps.listener,
    via: 'direct',
    dialledBy: 'agent',
    report,
    digest: hash('sha256', body, 'buffer'),
    address,
    tls,
  });
  return deps.limits.pace(computerId, report, orders);
}

interface Mismatch {
  readonly call: Call;
  readonly identity: PeerIdentity;
  readonly claimedId: string;
  readonly receivedAt: FleetInstant;
}

async function refuseMismatch(deps: AgentRoutesDeps, mismatch: Mismatch): Promise<never> {
  const { call, identity, claimedId, receivedAt } = mismatch;
  const refusal = await deps.refusalOf(identity);
  if (refusal) throw refusal;
  const { computerId } = identity;
  const { address } = call.connection;
  deps.log.warn({ computerId, claimedId, address }, 'A report names another computer than its certificate');
  await deps.noteMismatch({ computerId, claimedId, address, receivedAt });
  throw new Problem('identity-mismatch', { detail: 'The body names another computer than the certificate proves.' });
}

function enroll(deps: AgentRoutesDeps, call: Call): Promise<EnrollResponse> {
  return withBody(deps, { ...call, maxBytes: MAX_ENROLL_BYTES, onOverload: () => undefined }, (body) =>
    deps.enroll(readMessage(enrollRequestSchema, body), call.connection.address),
  );
}

async function upload(deps: AgentRoutesDeps, call: Call): Promise<unknown> {
  const identity = identityOf(call.connection.peer, deps.trustedNow());
  deps.limits.admitRequest(identity.computerId);
  const refusal = await deps.refusalOf(identity);
  if (refusal) throw refusal;
  return withBody(deps, { ...call, maxBytes: MAX_UPLOAD_BODY_BYTES, onOverload: () => undefined }, (body) =>
    deps.upload(identity.computerId, readMessage(uploadPartSchema, body)),
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

/** The version is looked at before the rest: another version may have other members. */
function readMessage<T>(schema: Schema<T>, body: Buffer): T {
  const value = parseBoundedJson(body);
  const version = isPlainObject(value) ? value['protocolVersion'] : undefined;
  const isForeign = Number.isInteger(version) && !isSpoken(version as number);
  if (isForeign)
    throw new Problem('protocol-version-unsupported', {
      detail: `This manager speaks versions ${OLDEST_PROTOCOL_VERSION} to ${NEWEST_PROTOCOL_VERSION}.`,
      members: { oldest: OLDEST_PROTOCOL_VERSION, newest: NEWEST_PROTOCOL_VERSION },
    });
  return readBy(schema, value);
}

function isSpoken(version: number): boolean {
  return version >= OLDEST_PROTOCOL_VERSION && version <= NEWEST_PROTOCOL_VERSION;
}
