import { hash } from 'node:crypto';
import { parseBoundedJson } from '../../lib/bounded-json.js';
import type { Log } from '../../lib/log.js';
import { Problem } from '../../lib/problem.js';
import { isPlainObject, readBy } from '../../lib/schema.js';
import { reportSchema, type Orders, type Report } from '../../protocol/heartbeat-messages.js';
import { listenerUploadSchema, type ListenerCall } from '../../protocol/listener-messages.js';
import type { UploadPart } from '../../protocol/upload-messages.js';
import { OLDEST_PROTOCOL_VERSION, NEWEST_PROTOCOL_VERSION, PROTOCOL_VERSION } from '../../protocol/protocol-version.js';
import type { ConnectionFacts } from '../agent-channel/agent-exchange.js';
import type { PeerIdentity } from '../agent-channel/peer-identity.js';
import type { PeerLimits } from '../agent-channel/peer-limits.js';
import type { FleetInstant } from '../fleet-clock/fleet-clock.js';
import type { Exchange } from '../heartbeats/exchange.js';
import type { IdentityMismatch } from '../heartbeats/identity-mismatch.js';
import type { ListenerConnection } from './dial-connection.js';
import { DialFailure } from './dial-failure.js';

export interface ConversationDeps {
  readonly fleet: () => FleetInstant;
  /** This process's name in the listening ledger. */
  readonly listener: string;
  readonly submit: (exchange: Exchange) => Promise<Orders>;
  /** Stores a part of a file that a command of this computer brings; throws a Problem. */
  readonly upload: (computerId: string, part: UploadPart) => Promise<unknown>;
  readonly limits: Pick<PeerLimits, 'admitEvents' | 'pace'>;
  readonly noteMismatch: (mismatch: IdentityMismatch) => Promise<void>;
  readonly log: Log;
}

export interface Speaking {
  readonly connection: ListenerConnection;
  readonly identity: PeerIdentity;
  readonly facts: ConnectionFacts;
  readonly signal: AbortSignal;
}

/** What was said so far, also when the conversation then broke. */
export interface Said {
  /** Reports that are stored. */
  reports: number;
  /** Those of them that were not stored before. */
  news: number;
  /** Why the last report was refused, if it was. */
  problem: Problem | undefined;
  /** The refusal that the agent answered to: it knows. */
  told: Problem | undefined;
  /** The machine took the connection. */
  hasConnected: boolean;
}

/** Whatever a peer does, a conversation ends. */
const MOST_CALLS = 1000;

/**
 * The exchange inverted (protocol/listener-messages.ts): asks for a report, stores it, posts its orders or the problem
 * it was refused with, and goes on until the agent has nothing left to say.
 */
export async function converse(deps: ConversationDeps, speaking: Speaking, said: Said): Promise<void> {
  const { connection, identity, signal } = speaking;
  const greeting: ListenerCall = { protocolVersion: PROTOCOL_VERSION, computerId: identity.computerId };
  let call = greeting;
  for (let calls = 0; calls < MOST_CALLS; calls += 1) {
    const bytes = await connection.post(JSON.stringify(call), signal);
    said.told = said.problem;
    if (bytes === null) return;
    const message = parseAnswer(bytes);
    if (isPlainObject(message) && message['upload'] !== undefined) {
      call = { ...greeting, ...(await takeUpload(deps, identity.computerId, message)) };
      continue;
    }
    const answer = await store(deps, speaking, { bytes, message });
    said.problem = answer instanceof Problem ? answer : undefined;
    if (!(answer instanceof Problem)) {
      said.reports += 1;
      said.news += answer.effect === 'accepted' ? 1 : 0;
    }
    call = { ...greeting, ...(answer instanceof Problem ? { problem: toCallProblem(answer) } : { orders: answer }) };
  }
}

/** A part of a file, for agents that open no connections. */
async function takeUpload(
  { upload }: ConversationDeps,
  computerId: string,
  message: unknown,
): Promise<Pick<ListenerCall, 'uploaded' | 'problem'>> {
  try {
    const { upload: part } = readBy(listenerUploadSchema, message);
    await upload(computerId, part);
    return { uploaded: { part: part.part } };
  } catch (error) {
    if (error instanceof Problem) return { problem: toCallProblem(error) };
    throw error;
  }
}

interface Answered {
  readonly bytes: Buffer;
  readonly message: unknown;
}

async function store(
  deps: ConversationDeps,
  speaking: Speaking,
  { bytes, message }: Answered,
): Promise<Orders | Problem> {
  const receivedAt = Math.floor(deps.fleet());
  const { computerId, serial } = speaking.identity;
  const { address, tls } = speaking.facts;
  try {
    const report = readReport(message);
    if (report.computerId !== undefined && report.computerId !== computerId) {
      await noteMismatch(deps, { computerId, claimedId: report.computerId, address, receivedAt });
      return new Problem('identity-mismatch', { detail: 'The report names another computer than the certificate.' });
    }
    deps.limits.admitEvents(computerId, report, bytes.length);
    const orders = await deps.submit({
      identity: { computerId, serial },
      receivedAt,
      listener: deps.listener,
      via: 'direct',
      dialledBy: 'manager',
      report,
      digest: hash('sha256', bytes, 'buffer'),
      address,
      tls,
    });
    return deps.limits.pace(computerId, report, orders);
  } catch (error) {
    if (error instanceof Problem) return error;
    throw error;
  }
}

async function noteMismatch({ log, ...deps }: ConversationDeps, mismatch: IdentityMismatch): Promise<void> {
  const { computerId, claimedId, address } = mismatch;
  log.warn({ computerId, claimedId, address }, 'A report names another computer than its certificate');
  await deps.noteMismatch(mismatch);
}

function parseAnswer(bytes: Buffer): unknown {
  try {
    return parseBoundedJson(bytes);
  } catch (error) {
    throw new DialFailure('protocol', 'the answer is no JSON that is taken', error);
  }
}

/** Throws `DialFailure` for what is no report at all, a Problem for one that is refused. */
function readReport(value: unknown): Report {
  const version = isPlainObject(value) ? value['protocolVersion'] : undefined;
  if (!Number.isInteger(version)) throw new DialFailure('protocol', 'the answer is no report');
  if (!isSpoken(version as number))
    throw new Problem('protocol-version-unsupported', {
      detail: `This manager speaks versions ${OLDEST_PROTOCOL_VERSION} to ${NEWEST_PROTOCOL_VERSION}.`,
    });
  return readBy(reportSchema, value);
}

function isSpoken(version: number): boolean {
  return version >= OLDEST_PROTOCOL_VERSION && version <= NEWEST_PROTOCOL_VERSION;
}

function toCallProblem({ code, status, facts }: Problem): NonNullable<ListenerCall['problem']> {
  const { detail, errors, retryAfterSeconds } = facts;
  return {
    type: `/problems/${code}`,
    status,
    ...(detail === undefined || status === 500 ? {} : { detail }),
    ...(errors === undefined ? {} : { errors }),
    ...(retryAfterSeconds === undefined ? {} : { retryAfterSeconds }),
  };
}
