import { request, type IncomingMessage } from 'node:http';
import type { Socket } from 'node:net';
import { DeliveryFailure, toDeliveryFailure } from './delivery-failure.js';

export interface Posting {
  /** Connected to the URL's host already, TLS included: nothing else is ever connected to. */
  readonly socket: Socket;
  readonly url: URL;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
  readonly signal: AbortSignal;
}

export interface PostAnswer {
  readonly status: number;
  readonly retryAfter: string | undefined;
  /** The beginning of the body. */
  readonly text: string;
}

const MAX_HEADER_BYTES = 8192;
/** What more comes is not read: the status has said what counts. */
const READ_BYTES = 1024;

/** Posts JSON and reads the status and a little of the body. Follows no redirect. Throws `DeliveryFailure`. */
export function postJson({ socket, url, headers, body, signal }: Posting): Promise<PostAnswer> {
  return new Promise((resolve, reject) => {
    let isAnswered = false;
    const fail = (error: unknown): void => {
      // The close that cuts an answer's body off is told of before the end of the reading.
      if (!isAnswered) reject(toDeliveryFailure(signal.aborted ? signal.reason : error));
    };
    const outgoing = request({
      createConnection: () => socket,
      path: `${url.pathname}${url.search}`,
      method: 'POST',
      maxHeaderSize: MAX_HEADER_BYTES,
      headers: {
        host: url.host,
        'content-type': 'application/json',
        'content-length': Buffer.byteLength(body),
        connection: 'close',
        ...headers,
      },
    });
    const abort = (): void => void socket.destroy(signal.reason as Error);
    signal.addEventListener('abort', abort, { once: true });
    outgoing.on('close', () => {
      signal.removeEventListener('abort', abort);
      socket.destroy();
      fail(new DeliveryFailure('reset', 'the receiver closed the connection without an answer'));
    });
    outgoing.on('error', fail);
    outgoing.on('response', (response) => {
      isAnswered = true;
      void read(response)
        .then(resolve, reject)
        .finally(() => outgoing.destroy());
    });
    if (signal.aborted) abort();
    outgoing.end(body);
  });
}

async function read(response: IncomingMessage): Promise<PostAnswer> {
  const chunks: Buffer[] = [];
  let length = 0;
  try {
    for await (const chunk of response as AsyncIterable<Buffer>) {
      chunks.push(chunk);
      length += chunk.length;
      if (length >= READ_BYTES) break;
    }
  } catch {
    // Cut off after the status, which is all that counts.
  }
  const text = Buffer.concat(chunks).subarray(0, READ_BYTES).toString('utf8');
  return { status: response.statusCode ?? 0, retryAfter: response.headers['retry-after'], text };
}

const LONGEST_RETRY_AFTER_MS = 3_600_000;

/** Milliseconds of a `Retry-After` in seconds or as a date (RFC 9110, section 10.2.3), an hour at most. */
export function retryAfterMs(text: string | undefined, wallMs: number): number | undefined {
  if (text === undefined) return undefined;
  const ms = /^\d{1,9}$/.test(text) ? Number(text) * 1000 : Date.parse(text) - wallMs;
  return Number.isNaN(ms) ? undefined : Math.min(LONGEST_RETRY_AFTER_MS, Math.max(0, ms));
}

/** Throws `DeliveryFailure` unless the receiver took it; `why` is a word of the receiver's that may be repeated. */
export function assertTaken({ status, retryAfter }: PostAnswer, wallMs: number, why?: string): void {
  if (status >= 200 && status < 300) return;
  const told = why === undefined ? '' : ` (${why})`;
  const detail =
    status >= 300 && status < 400
      ? `the receiver answered ${status}, and redirects are not followed`
      : `the receiver answered ${status}${told}`;
  throw new DeliveryFailure('answer', detail, retryAfterMs(retryAfter, wallMs));
}
