import { request as requestHttp, type IncomingMessage } from 'node:http';
import { request as requestHttps } from 'node:https';
import { connectionReset, networkFaultOf } from './network-error.js';

/** Why a ping was not taken; says nothing of the URL, which may be a secret. */
export class PingFailure extends Error {
  constructor(message: string) {
    super(message);
    this.name = 'PingFailure';
  }
}

export interface PingOptions {
  readonly timeoutMs: number;
  readonly signal: AbortSignal;
}

const MOST_BYTES = 64 * 1024;
const MAX_HEADER_BYTES = 16_384;

/**
 * One GET over a connection of its own, http or https. Resolves with any 2xx once its short answer has been read whole;
 * redirects are not followed. Throws `PingFailure`.
 */
export async function pingUrl(url: URL, { timeoutMs, signal }: PingOptions): Promise<void> {
  const limit = AbortSignal.timeout(timeoutMs);
  try {
    const response = await open(url, AbortSignal.any([signal, limit]));
    const { statusCode = 0 } = response;
    await readAway(response);
    if (statusCode < 200 || statusCode > 299) throw new PingFailure(`answered ${statusCode}`);
  } catch (error) {
    if (error instanceof PingFailure) throw error;
    if (limit.aborted) throw new PingFailure(`no end of an answer within ${timeoutMs / 1000} s`);
    throw new PingFailure(faultOf(error));
  }
}

function open(url: URL, signal: AbortSignal): Promise<IncomingMessage> {
  const request = url.protocol === 'https:' ? requestHttps : requestHttp;
  const headers = { 'user-agent': 'wardbeat', accept: '*/*' };
  return new Promise((resolve, reject) => {
    const asked = request(url, { method: 'GET', agent: false, maxHeaderSize: MAX_HEADER_BYTES, headers, signal });
    asked.once('response', resolve);
    // Stays: what comes after the answer must not end the process.
    asked.on('error', reject);
    // All that Node reports of a peer that switches protocols unasked.
    asked.once('close', () => reject(connectionReset('no answer')));
    asked.end();
  });
}

async function readAway(response: IncomingMessage): Promise<void> {
  let bytes = 0;
  for await (const chunk of response) {
    bytes += (chunk as Buffer).length;
    if (bytes > MOST_BYTES) throw new PingFailure(`answered more than ${MOST_BYTES} bytes`);
  }
}

/** The kind and the code; the texts of Node name hosts and addresses. */
function faultOf(error: unknown): string {
  const { code } = Object(error) as { code?: unknown };
  const { fault } = networkFaultOf(error);
  return typeof code === 'string' && /^[A-Z0-9_]+$/.test(code) ? `${fault} (${code})` : fault;
}
