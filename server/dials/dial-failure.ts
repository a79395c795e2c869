import type { PathRefusal } from '../../certs/verify-path.js';
import { networkFaultOf } from '../../lib/network-error.js';

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

/** The manager had no room for this dial: the agent is not to blame. */
export class OwnFailure extends DialFailure {
  constructor(detail: string) {
    super('unknown', detail);
  }
}

/** The agent's exchange is in flight on another connection: the orders ride on that one. */
export class ExchangeInProgress extends Error {}

/** Names what the operating system, TLS or the HTTP parser reported. */
export function toDialFailure(error: unknown): DialFailure | ExchangeInProgress {
  if (error instanceof DialFailure || error instanceof ExchangeInProgress) return error;
  const { fault, text } = networkFaultOf(error);
  if (fault === 'no-tls') return new DialFailure('protocol', 'no TLS there', error);
  if (fault === 'no-http') return new DialFailure('protocol', 'the answer is no HTTP', error);
  return new DialFailure(fault, text, error);
}

export function toPathFailure(reason: PathRefusal, detail: string): DialFailure {
  return new DialFailure(reason === 'profile' ? 'tls-unknown-ca' : reason, detail);
}
