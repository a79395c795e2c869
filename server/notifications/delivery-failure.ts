import { DialFailure } from '../dials/index.js';

/** Why a message was not delivered. docs/notifications.md says what each means. */
export const DELIVERY_FAILURES = [
  'address-refused',
  'dns',
  'refused',
  'timeout',
  'reset',
  'unreachable',
  'tls',
  'protocol',
  'credentials-refused',
  'answer',
  'secrets-unreadable',
  'channel-removed',
  'unknown',
] as const;
export type DeliveryFailureCode = (typeof DELIVERY_FAILURES)[number];

/** Failures of the way to the receiver: the next message would fail alike. */
const OF_THE_CHANNEL: ReadonlySet<DeliveryFailureCode> = new Set([
  'address-refused',
  'dns',
  'refused',
  'timeout',
  'reset',
  'unreachable',
  'tls',
  'credentials-refused',
]);

/** A message was not delivered. `detail` is shown and logged: it is made of constant text and of nothing secret. */
export class DeliveryFailure extends Error {
  constructor(
    readonly code: DeliveryFailureCode,
    readonly detail: string,
    /** Asked for by the receiver. */
    readonly retryAfterMs?: number,
  ) {
    super(detail);
    this.name = 'DeliveryFailure';
  }

  get isOfChannel(): boolean {
    return OF_THE_CHANNEL.has(this.code);
  }
}

interface SystemFailure {
  readonly code: DeliveryFailureCode;
  readonly detail: string;
}

const BY_ERRNO: Readonly<Record<string, SystemFailure>> = {
  ENOTFOUND: { code: 'dns', detail: 'the name was not found' },
  EAI_AGAIN: { code: 'dns', detail: 'the name could not be resolved at this moment' },
  EAI_FAIL: { code: 'dns', detail: 'the name could not be resolved' },
  ECONNREFUSED: { code: 'refused', detail: 'the connection was refused' },
  ETIMEDOUT: { code: 'timeout', detail: 'the receiver did not answer in time' },
  ETIME: { code: 'timeout', detail: 'the receiver did not answer in time' },
  ECONNRESET: { code: 'reset', detail: 'the receiver reset the connection' },
  EPIPE: { code: 'reset', detail: 'the receiver closed the connection' },
  ECONNABORTED: { code: 'reset', detail: 'the connection was aborted' },
  EHOSTUNREACH: { code: 'unreachable', detail: 'no route to the host' },
  ENETUNREACH: { code: 'unreachable', detail: 'no route to the network' },
  EHOSTDOWN: { code: 'unreachable', detail: 'the host is down' },
};

const CERTIFICATE = /CERT|SIGNATURE|ISSUER|ALTNAME|LEAF/;

/** Names what the system, TLS or a parser reported, in our own words: what a receiver sent is never repeated here. */
export function toDeliveryFailure(error: unknown): DeliveryFailure {
  if (error instanceof DeliveryFailure) return error;
  if (error instanceof DialFailure) return fromGuard(error);
  const { code, originalCode } = error as { readonly code?: unknown; readonly originalCode?: unknown };
  const name = String(originalCode ?? code ?? '');
  const known = Object.hasOwn(BY_ERRNO, name) ? BY_ERRNO[name] : undefined;
  if (known) return new DeliveryFailure(known.code, known.detail);
  if (CERTIFICATE.test(name)) return new DeliveryFailure('tls', `the receiver's certificate is not accepted (${word(name)})`);
  if (/SSL|TLS/.test(name)) return new DeliveryFailure('tls', `the TLS handshake failed (${word(name)})`);
  if (name.startsWith('HPE_')) return new DeliveryFailure('protocol', 'the answer is no HTTP');
  return new DeliveryFailure('unknown', name === '' ? 'the delivery failed' : `the delivery failed (${word(name)})`);
}

function fromGuard({ code, message }: DialFailure): DeliveryFailure {
  if (code === 'address-refused') return new DeliveryFailure('address-refused', message);
  return new DeliveryFailure('dns', 'the name was not resolved in time');
}

function word(name: string): string {
  return name.replaceAll(/[^A-Z0-9_]/gi, '').slice(0, 64);
}
