import type { PathRefusal } from '../../certs/verify-path.js';

/** Why a dial came to nothing: the codes of `computer_dials.last_result`, docs/operations.md says what each means. */
export const DIAL_FAILURES = [
  'no-address',
  'address-refused',
  'dns',
  'refused',
  'timeout',
  'reset',
  'unreachable',
  'tls-expired',
  'tls-not-yet-valid',
  'tls-unknown-ca',
  'tls-other-computer',
  'tls-refused',
  'protocol',
  'unknown',
] as const;
export type DialFailureCode = (typeof DIAL_FAILURES)[number];

/** The agent was not reached, not recognised, or answered nonsense. */
export class DialFailure extends Error {
  constructor(
    readonly code: DialFailureCode,
    detail: string,
    cause?: unknown,
  ) {
    super(detail, cause === undefined ? {} : { cause });
    this.name = 'DialFailure';
  }
}

/** The agent's exchange is in flight on another connection: the orders ride on that one. */
export class ExchangeInProgress extends Error {}

const BY_ERRNO: Readonly<Record<string, DialFailureCode>> = {
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

/** Names what the operating system, TLS or the HTTP parser reported. */
export function toDialFailure(error: unknown): DialFailure | ExchangeInProgress {
  if (error instanceof DialFailure || error instanceof ExchangeInProgress) return error;
  const facts = error as { code?: unknown; message?: unknown };
  const code = String(facts.code ?? '');
  if (NO_TLS.has(code)) return new DialFailure('protocol', 'no TLS there', error);
  if (code.startsWith('HPE_')) return new DialFailure('protocol', 'the answer is no HTTP', error);
  // OpenSSL ends its messages with a line feed.
  const [text = ''] = String(facts.message ?? error).split('\n');
  return new DialFailure(BY_ERRNO[code] ?? (/SSL|TLS/.test(code) ? 'tls-refused' : 'unknown'), text, error);
}

export function toPathFailure(reason: PathRefusal, detail: string): DialFailure {
  return new DialFailure(reason === 'profile' ? 'tls-unknown-ca' : reason, detail);
}
