import { networkFaultOf, type NetworkFault } from '../../lib/network-error.js';
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
  'recipients-refused',
  'channel-removed',
  'unknown',
] as const;
export type DeliveryFailureCode = (typeof DELIVERY_FAILURES)[number];

/** Failures of the way to the receiver or of the receiver: when the next message arrives, this one does too. */
const OF_THE_CHANNEL: ReadonlySet<DeliveryFailureCode> = new Set([
  'address-refused',
  'dns',
  'refused',
  'timeout',
  'reset',
  'unreachable',
  'tls',
  'credentials-refused',
  'protocol',
  'answer',
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

/** As a failure of this code reads in the log. */
export const CHANNEL_REMOVED = 'channel-removed: the channel was deleted';

const NETWORK: Readonly<Partial<Record<NetworkFault, readonly [DeliveryFailureCode, string]>>> = {
  dns: ['dns', 'the name could not be resolved'],
  refused: ['refused', 'the connection was refused'],
  timeout: ['timeout', 'the receiver did not answer in time'],
  reset: ['reset', 'the receiver closed the connection'],
  unreachable: ['unreachable', 'there is no way to the host'],
  'no-tls': ['tls', 'no TLS there'],
  'no-http': ['protocol', 'the answer is no HTTP'],
};

/** By the codes of OpenSSL and Node; the first that fits counts. */
const BY_NAME: readonly (readonly [RegExp, DeliveryFailureCode, string])[] = [
  [/CERT|SIGNATURE|ISSUER|ALTNAME|LEAF/, 'tls', "the receiver's certificate is not accepted"],
  [/SSL|TLS/, 'tls', 'the TLS handshake failed'],
];

/** Names what the system, TLS or a parser reported, in our own words: what a receiver sent is never repeated here. */
export function toDeliveryFailure(error: unknown): DeliveryFailure {
  if (error instanceof DeliveryFailure) return error;
  if (error instanceof DialFailure) return fromGuard(error);
  const { code, originalCode } = Object(error) as { readonly code?: unknown; readonly originalCode?: unknown };
  return fromSystem(String(originalCode ?? code ?? ''));
}

function fromSystem(name: string): DeliveryFailure {
  const known = NETWORK[networkFaultOf({ code: name }).fault];
  if (known) return new DeliveryFailure(...known);
  const [, code = 'unknown', says = ''] = BY_NAME.find(([pattern]) => pattern.test(name)) ?? [];
  const shown = word(name);
  return new DeliveryFailure(
    code,
    shown === '' ? 'the delivery failed' : `${says || 'the delivery failed'} (${shown})`,
  );
}

function fromGuard({ code, message }: DialFailure): DeliveryFailure {
  if (code === 'address-refused') return new DeliveryFailure('address-refused', message);
  return new DeliveryFailure('dns', 'the name could not be resolved');
}

function word(name: string): string {
  return name.replaceAll(/[^A-Z0-9_]/gi, '').slice(0, 64);
}
