import type { IncomingMessage } from 'node:http';
import { isJsonContentType } from './json-content-type.js';
import { Problem } from './problem.js';

const HOST = /^(?:\[[0-9a-fA-F:.]{2,45}\]|[A-Za-z0-9](?:[A-Za-z0-9._-]{0,252}))(?::[0-9]{1,5})?$/;

type Head = Pick<IncomingMessage, 'rawHeaders' | 'headers' | 'url'>;

/**
 * Refuses what two readers of one request could understand differently (RFC 9112 section 3.2): no, several, empty or
 * decorated Host fields, and a target that is not a path. Answers the path without its query.
 */
export function assertUnambiguous(head: Head): string {
  const hosts = head.rawHeaders.filter((name, index) => index % 2 === 0 && name.toLowerCase() === 'host');
  if (hosts.length !== 1) throw refusal('The request must carry exactly one Host field.');
  if (!HOST.test(head.headers.host ?? '')) throw refusal('The Host field must be a host name or address and a port.');
  const target = head.url ?? '';
  if (!target.startsWith('/')) throw refusal('The request target must be a path.');
  const query = target.indexOf('?');
  return query === -1 ? target : target.slice(0, query);
}

/** Refuses a body by its headers, before a byte of it is read. */
export function assertJsonBody(head: Head, maxBytes: number): void {
  const encoding = head.headers['content-encoding'] ?? 'identity';
  if (encoding.trim().toLowerCase() !== 'identity')
    throw new Problem('content-type-unsupported', { detail: 'Send the body without a content encoding.' });
  if (!isJsonContentType(head.headers['content-type'] ?? ''))
    throw new Problem('content-type-unsupported', { detail: 'Send the body as application/json in UTF-8.' });
  const length = Number(head.headers['content-length'] ?? 0);
  if (length > maxBytes) throw tooLarge(maxBytes);
}

export function tooLarge(maxBytes: number): Problem {
  return new Problem('body-too-large', { detail: `The body may have at most ${maxBytes} bytes.` });
}

function refusal(detail: string): Problem {
  return new Problem('request-invalid', { detail, errors: [{ pointer: '#', detail }] });
}
