import { DeadlinePassed } from '../deadline.js';

/** Codes of design.md §5 "offline because", and `tls-refused`, `unreachable`, `protocol` beside them. */
export type TransportCode =
  | 'dns'
  | 'refused'
  | 'timeout'
  | 'reset'
  | 'unreachable'
  | 'tls-expired'
  | 'tls-not-yet-valid'
  | 'tls-unknown-ca'
  | 'tls-refused'
  | 'protocol'
  | 'unknown';

/** The manager was not reached, not recognised, or answered nonsense. */
export class TransportError extends Error {
  constructor(
    readonly code: TransportCode,
    detail: string,
    cause?: unknown,
  ) {
    super(detail, cause === undefined ? {} : { cause });
    this.name = 'TransportError';
  }
}

/** The manager answered with a problem document. */
export class ManagerRefusal extends Error {
  constructor(
    /** A code of lib/problem-codes.ts, or `unknown`. */
    readonly code: string,
    readonly status: number,
    readonly facts: {
      readonly detail: string;
      readonly retryAfterMs?: number;
      /** JSON pointers of the rejected fields (`#/lanes/2/events/0/message`). */
      readonly pointers?: readonly string[];
    },
  ) {
    super(facts.detail);
    this.name = 'ManagerRefusal';
  }
}

const BY_ERRNO: Readonly<Record<string, TransportCode>> = {
  ENOTFOUND: 'dns',
  EAI_AGAIN: 'dns',
  EAI_FAIL: 'dns',
  ECONNREFUSED: 'refused',
  ETIMEDOUT: 'timeout',
  ECONNRESET: 'reset',
  EPIPE: 'reset',
  ECONNABORTED: 'reset',
  EHOSTUNREACH: 'unreachable',
  ENETUNREACH: 'unreachable',
  EHOSTDOWN: 'unreachable',
};

/** What OpenSSL says of bytes that are no TLS at all. */
const NO_TLS: ReadonlySet<string> = new Set([
  'ERR_SSL_WRONG_VERSION_NUMBER',
  'ERR_SSL_PACKET_LENGTH_TOO_LONG',
  'ERR_SSL_HTTP_REQUEST',
  'ERR_SSL_UNKNOWN_PROTOCOL',
]);

/** Names what the operating system or TLS reported. */
export function toTransportError(error: unknown): TransportError {
  if (error instanceof TransportError) return error;
  if (error instanceof DeadlinePassed) return new TransportError('timeout', error.message, error);
  const facts = error as { code?: unknown; errors?: unknown; message?: unknown };
  const [first] = Array.isArray(facts.errors) ? facts.errors : [];
  if (facts.code === undefined && first !== undefined) return toTransportError(first);
  return fromCode(String(facts.code ?? ''), String(facts.message ?? error), error);
}

function fromCode(code: string, message: string, cause: unknown): TransportError {
  if (NO_TLS.has(code))
    return new TransportError('protocol', 'no TLS there; the agent port is 4120 unless configured', cause);
  const isTls = /SSL|TLS/.test(code);
  // OpenSSL ends its messages with a line feed.
  const [text = ''] = message.split('\n');
  return new TransportError(BY_ERRNO[code] ?? (isTls ? 'tls-refused' : 'unknown'), text.slice(0, 1024), cause);
}
