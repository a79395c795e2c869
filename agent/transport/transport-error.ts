import { networkFaultOf } from '../../lib/network-error.js';
import { DeadlinePassed } from '../deadline.js';

/**
 * What became of a proxy: no connection to it; it refused to go on; it wants other credentials; it did not answer in time;
 * its own certificate is not good; it did not reach the manager; the secret that its setting names is not there.
 */
export const PROXY_CODES = [
  'proxy-unreachable',
  'proxy-refused',
  'proxy-auth',
  'proxy-timeout',
  'proxy-tls',
  'proxy-no-route',
  'proxy-credential',
] as const;
export type ProxyCode = (typeof PROXY_CODES)[number];

/** Codes of design.md §5 "offline because", and `tls-refused`, `unreachable`, `protocol` beside them. */
export type TransportCode =
  | ProxyCode
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
      /** Of `clock-skew`, where the certificate has expired: the manager's time, Unix milliseconds. */
      readonly expiredAt?: number;
    },
  ) {
    super(facts.detail);
    this.name = 'ManagerRefusal';
  }
}

/** Names what the operating system, TLS or the HTTP parser reported. */
export function toTransportError(error: unknown): TransportError {
  if (error instanceof TransportError) return error;
  if (error instanceof DeadlinePassed) return new TransportError('timeout', error.message, error);
  const { fault, text } = networkFaultOf(error);
  if (fault === 'no-tls')
    return new TransportError('protocol', 'no TLS there; the agent port is 4120 unless configured', error);
  if (fault === 'no-http') return new TransportError('protocol', 'the answer is no HTTP', error);
  return new TransportError(fault, text.slice(0, 1024), error);
}
