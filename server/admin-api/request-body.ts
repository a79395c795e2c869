import type { IncomingMessage } from 'node:http';
import { parseBoundedJson } from '../../lib/bounded-json.js';
import { isJsonContentType } from '../../lib/json-content-type.js';
import { Problem } from '../../lib/problem.js';

const PATCH_TYPES = ['application/json', 'application/merge-patch+json'];
export const MAX_BODY_BYTES = 1024 * 1024;

/**
 * Reads a JSON body of at most 1 MiB. A call without Content-Type and without a body reads as an empty object. Throws
 * `body-too-large` before reading when Content-Length says so, `content-type-unsupported`, or `request-invalid`. What
 * is not read is left to the server, which discards it within its request timeout.
 */
export async function readJsonBody(request: IncomingMessage): Promise<unknown> {
  assertLength(request);
  assertEncoding(request);
  const type = request.headers['content-type'];
  if (type !== undefined) assertJson(type, request.method === 'PATCH');
  const body = await readBounded(request);
  if (type !== undefined) return parseBoundedJson(body);
  if (body.length === 0) return {};
  throw new Problem('content-type-unsupported', { detail: 'Send Content-Type: application/json.' });
}

/** The bytes of a body where none is expected; undefined where there is none. */
export async function readUnexpectedBody(request: IncomingMessage): Promise<Buffer | undefined> {
  assertLength(request);
  const { 'content-length': length, 'transfer-encoding': encoding } = request.headers;
  if (encoding === undefined && Number(length ?? 0) === 0) return undefined;
  const body = await readBounded(request);
  return body.length === 0 ? undefined : body;
}

/** A body that is announced as too large is refused. */
function assertLength(request: IncomingMessage): void {
  if (Number(request.headers['content-length'] ?? 0) > MAX_BODY_BYTES) throw tooLarge();
}

function assertEncoding({ headers }: IncomingMessage): void {
  const encoding = headers['content-encoding'];
  if (encoding === undefined || encoding.trim().toLowerCase() === 'identity') return;
  throw new Problem('content-type-unsupported', { detail: 'Send the body without Content-Encoding.' });
}

function assertJson(type: string, isPatch: boolean): void {
  if (isJsonContentType(type, isPatch ? PATCH_TYPES : undefined)) return;
  const detail = isPatch
    ? 'Send application/merge-patch+json or application/json in UTF-8.'
    : 'Send application/json in UTF-8.';
  throw new Problem('content-type-unsupported', { detail });
}

function readBounded(request: IncomingMessage): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    let length = 0;
    const settle = (action: () => void) => {
      request.off('data', onData).off('end', onEnd).off('error', onBroken).off('close', onBroken);
      action();
    };
    const onData = (chunk: Buffer) => {
      length += chunk.length;
      if (length > MAX_BODY_BYTES) settle(() => reject(tooLarge()));
      else chunks.push(chunk);
    };
    const onEnd = () => settle(() => resolve(Buffer.concat(chunks)));
    const onBroken = () =>
      settle(() => reject(new Problem('request-invalid', { detail: 'The body ended before it was whole.' })));
    if (request.destroyed && !request.complete) return onBroken();
    request.on('data', onData).on('end', onEnd).on('error', onBroken).on('close', onBroken);
  });
}

function tooLarge(): Problem {
  return new Problem('body-too-large', { detail: `The body must have at most ${MAX_BODY_BYTES} bytes.` });
}
