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

/** By the codes of OpenSSL, Node and the HTTP parser; the first that fits counts. */
const BY_NAME: readonly (readonly [RegExp, DeliveryFailureCode, string])[] = [
  [/CERT|SIGNATURE|ISSUER|ALTNAME|LEAF/, 'tls', "the receiver's certificate is not accepted"],
  [/SSL|TLS/, 'tls', 'the TLS handshake failed'],
  [/^HPE_/, 'protocol', 'the answer is no HTTP'],
];

/** Names what the system, TLS or a parser reported, in our own words: what a receiver sent is never repeated here. */
export function toDeliveryFailure(error: unknown): DeliveryFailure {
  if (error instanceof DeliveryFailure) return error;
  if (error instanceof DialFailure) return fromGuard(error);
  const { code, originalCode } = error as { readonly code?: unknown; readonly originalCode?: unknown };
  return fromSystem(String(originalCode ?? code ?? ''));
}

function fromSystem(name: string): DeliveryFailure {
  const known = Object.hasOwn(BY_ERRNO, name) ? BY_ERRNO[name] : undefined;
  if (known) return new DeliveryFailure(known.code, known.detail);
  const [, code = 'unknown', says = ''] = BY_NAME.find(([pattern]) => pattern.test(name)) ?? [];
  const shown = word(name);
  return new DeliveryFailure(
    code,
    shown === '' ? 'the delivery failed' : `${says || 'the delivery failed'} (${shown})`,
  );
}

function fromGuard({ code, message }: DialFailure): DeliveryFailure {
  if (code === 'address-refused') return new DeliveryFailure('address-refused', message);
  return new DeliveryFailure('dns', 'the name was not resolved in time');
}

function word(name: string): string {
  return name.replaceAll(/[^A-Z0-9_]/gi, '').slice(0, 64);
}
