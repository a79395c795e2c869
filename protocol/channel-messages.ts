import { parseBoundedJson } from '../lib/bounded-json.js';
import { invalidFields, Problem } from '../lib/problem.js';
import { integer, isPlainObject, object, oneOf, optional, readBy, string, uuid } from '../lib/schema.js';
import { MAX_REPORT_BYTES } from './heartbeat-messages.js';

/** The WebSocket subprotocol of the held channel (RFC 6455 section 1.9). */
export const CHANNEL_SUBPROTOCOL = 'wardbeat.v1';

/** A message of the agent: a report in its envelope. */
export const MAX_AGENT_MESSAGE_BYTES = MAX_REPORT_BYTES + 1024;
/** A message of the manager: orders in their envelope. */
export const MAX_MANAGER_MESSAGE_BYTES = 4 * 1024 * 1024;

/**
 * Why a side ended a channel, beside RFC 6455's own: 1000 the agent leaves, 1002, 1003, 1007 and 1009 what came is no
 * message of ours, 1008 a limit was passed. `restarting` carries in its reason when to come back.
 */
export const CHANNEL_CLOSE = {
  done: 1000,
  notText: 1003,
  malformed: 1007,
  limit: 1008,
  restarting: 1012,
  refused: 4403,
  timeout: 4408,
  replaced: 4409,
} as const;

export const WAKE_REASONS = ['settings', 'commands', 'heartbeat', 'standing'] as const;
/** What the agent's next exchange brings; `standing`: whether the computer still counts is to be looked at. */
export type WakeReason = (typeof WAKE_REASONS)[number];

/** A report that was parsed, with its exact bytes; where another member order hid those, the member written anew. */
export interface ReportMessage {
  readonly type: 'report';
  readonly requestId: string;
  readonly body: Buffer;
  readonly value: unknown;
}

export type AgentMessage =
  | ReportMessage
  | { readonly type: 'done'; readonly requestId: string }
  /** Of a version that says more than this one knows. */
  | { readonly type: 'unknown' };

export type ManagerMessage =
  | { readonly type: 'orders'; readonly requestId: string; readonly orders: unknown }
  | {
      readonly type: 'problem';
      readonly requestId: string;
      /** RFC 9457. */
      readonly problem: Readonly<Record<string, unknown>>;
      readonly retryAfterSeconds?: number;
    }
  | { readonly type: 'wake'; readonly requestId: string; readonly reason: string }
  | { readonly type: 'unknown' };

const ID_LENGTH = 36;
const REPORT_START = '{"type":"report","requestId":"';
const REPORT_MIDDLE = '","report":';
const HEAD_BYTES = REPORT_START.length + ID_LENGTH + REPORT_MIDDLE.length;
const CLOSE_BRACE = 0x7d;

/** Wraps the JSON text of a report; the report comes last, so that its bytes need not be parsed twice. */
export function writeReport(requestId: string, body: string): string {
  return `${REPORT_START}${requestId}${REPORT_MIDDLE}${body}}`;
}

export function writeDone(requestId: string): string {
  return JSON.stringify({ type: 'done', requestId });
}

export function writeManagerMessage(message: Exclude<ManagerMessage, { type: 'unknown' }>): string {
  return JSON.stringify(message);
}

const typeSchema = object({ type: string({ max: 64 }) });
const requestSchema = object({ requestId: uuid });

/** Reads a message of the agent; what `writeReport` wrote is parsed once. Throws `request-invalid` for what is none. */
export function readAgentMessage(bytes: Buffer): AgentMessage {
  return readWrittenReport(bytes) ?? readAnyAgentMessage(bytes);
}

/** Undefined where the envelope is not exactly the one of `writeReport`. */
function readWrittenReport(bytes: Buffer): ReportMessage | undefined {
  if (bytes.length <= HEAD_BYTES || bytes.at(-1) !== CLOSE_BRACE) return undefined;
  const head = bytes.toString('latin1', 0, HEAD_BYTES);
  const requestId = head.slice(REPORT_START.length, REPORT_START.length + ID_LENGTH);
  if (head !== `${REPORT_START}${requestId}${REPORT_MIDDLE}` || !isUuid(requestId)) return undefined;
  const body = bytes.subarray(HEAD_BYTES, -1);
  try {
    return { type: 'report', requestId, body, value: parseBoundedJson(body) };
  } catch {
    // More members follow the report, or nothing of it is right.
    return undefined;
  }
}

function isUuid(text: string): boolean {
  return uuid(text, '', []) !== undefined;
}

function readAnyAgentMessage(bytes: Buffer): AgentMessage {
  const message = readObject(bytes);
  const { type } = readBy(typeSchema, message);
  if (type !== 'done' && type !== 'report') return { type: 'unknown' };
  const { requestId } = readBy(requestSchema, message);
  if (type === 'done') return { type, requestId };
  const { report: value } = message;
  if (value === undefined) throw invalidFields([{ pointer: '#/report', detail: 'must be an object' }]);
  return { type: 'report', requestId, body: Buffer.from(JSON.stringify(value)), value };
}

const problemSchema = object({ requestId: uuid, retryAfterSeconds: optional(integer(0, 86_400)) });
const wakeSchema = object({ requestId: uuid, reason: string({ max: 64 }) });
/** Reads a message of the manager; throws `request-invalid`. */
export function readManagerMessage(bytes: Buffer): ManagerMessage {
  const value = readObject(bytes);
  const { type } = readBy(typeSchema, value);
  if (type === 'orders') return { type, ...readBy(requestSchema, value), orders: value['orders'] };
  if (type === 'wake') return { type, ...readBy(wakeSchema, value) };
  if (type !== 'problem') return { type: 'unknown' };
  const { problem } = value;
  return { type, ...readBy(problemSchema, value), problem: isPlainObject(problem) ? problem : {} };
}

function readObject(bytes: Buffer): Readonly<Record<string, unknown>> {
  const value = parseBoundedJson(bytes);
  if (isPlainObject(value)) return value;
  throw new Problem('request-invalid', { detail: 'A message is a JSON object.' });
}

const restartSchema = object({ returnInMs: integer(0, 86_400_000) });

/** The reason of a close with `CHANNEL_CLOSE.restarting`. */
export function writeReturn(returnInMs: number): string {
  return JSON.stringify({ returnInMs: Math.round(returnInMs) });
}

/** Undefined where the reason says nothing of it. */
export function readReturn(reason: string): number | undefined {
  try {
    return readBy(restartSchema, JSON.parse(reason)).returnInMs;
  } catch {
    return undefined;
  }
}

/** Whether a text is one of the reasons to wake that this version knows. */
export function toWakeReason(text: string): WakeReason | undefined {
  return oneOf(...WAKE_REASONS)(text, '', []);
}
