import { STATUS_CODES, type ServerResponse } from 'node:http';
import type { Duplex } from 'node:stream';
import { Problem, toProblemDocument } from './problem.js';

const LONGEST_RETRY_AFTER_SECONDS = 60;
/** What a client is given to read an answer on a bare socket; its own side may never end. */
const LINGER_MS = 2000;

/** A request id as the `instance` of a problem and the `requestId` of a log line. */
export function toInstance(requestId: string): string {
  return `urn:uuid:${requestId}`;
}

export function sendJson(response: ServerResponse, body: unknown): void {
  const bytes = Buffer.from(JSON.stringify(body));
  response.writeHead(200, {
    'Content-Type': 'application/json',
    'Content-Length': bytes.length,
    'Cache-Control': 'no-store',
  });
  response.end(bytes);
}

export function sendProblem(response: ServerResponse, problem: Problem, requestId: string): void {
  if (response.headersSent || response.destroyed) return;
  const bytes = Buffer.from(JSON.stringify(toProblemDocument(problem, toInstance(requestId))));
  const { retryAfterSeconds } = problem.facts;
  response.writeHead(problem.status, {
    'Content-Type': 'application/problem+json',
    'Content-Length': bytes.length,
    'Cache-Control': 'no-store',
    ...(retryAfterSeconds === undefined ? {} : { 'Retry-After': String(shownRetryAfter(retryAfterSeconds)) }),
  });
  response.end(bytes);
}

/** Whole seconds, from 1 to a minute. */
export function shownRetryAfter(seconds: number): number {
  return Math.min(LONGEST_RETRY_AFTER_SECONDS, Math.max(1, Math.ceil(seconds)));
}

/** Answers on a bare socket what never became a request, and closes it. */
export function endWithProblem(socket: Duplex, problem: Problem, requestId: string): void {
  if (!socket.writable) return void socket.destroy();
  const body = JSON.stringify(toProblemDocument(problem, toInstance(requestId)));
  const { retryAfterSeconds } = problem.facts;
  const retry = retryAfterSeconds === undefined ? '' : `Retry-After: ${shownRetryAfter(retryAfterSeconds)}\r\n`;
  socket.end(
    `HTTP/1.1 ${problem.status} ${STATUS_CODES[problem.status] ?? ''}\r\nContent-Type: application/problem+json\r\n` +
      `${retry}Content-Length: ${Buffer.byteLength(body)}\r\nConnection: close\r\n\r\n${body}`,
  );
  const linger = setTimeout(() => socket.destroy(), LINGER_MS).unref();
  socket.once('close', () => clearTimeout(linger)).resume();
}
