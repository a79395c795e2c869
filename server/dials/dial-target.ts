import { isIP } from 'node:net';
import { DialFailure } from './dial-failure.js';
import { isDisguisedAddress, isLoopback, type DialGuard } from './dial-guard.js';

/** What is known of where a computer listens. */
export interface TargetFacts {
  /** The administrator's, `host[:port]`. */
  readonly address: string | null;
  /** Where the last authenticated connection came from. */
  readonly observedAddress: string | null;
  /** Where a candidate's listener waits for its proof. */
  readonly candidatePort: number | null;
  /** The port that the listener reports as bound. */
  readonly listenerPort: number | null;
  /** The setting. */
  readonly settingPort: number;
}

export interface DialTarget {
  readonly host: string;
  readonly port: number;
  readonly isLoopbackObserved: boolean;
}

/** Where to dial: never to an address that an agent only reports. Throws `DialFailure` `no-address`. */
export function chooseTarget(facts: TargetFacts): DialTarget {
  const { address, observedAddress, candidatePort, listenerPort, settingPort } = facts;
  const isLoopbackObserved = isLoopback(observedAddress);
  const reportedPort = candidatePort ?? listenerPort ?? settingPort;
  if (address !== null) {
    const { host, port } = splitAddress(address);
    return { host, port: port ?? reportedPort, isLoopbackObserved };
  }
  if (observedAddress === null) throw new DialFailure('no-address', 'no address is set, and none was observed');
  return { host: observedAddress, port: reportedPort, isLoopbackObserved };
}

function splitAddress(text: string): { readonly host: string; readonly port: number | undefined } {
  const [, bracketed, plain = text, port] = /^(?:\[([^\]]*)\]|([^:[\]]*))(?::(\d{1,5}))?$/.exec(text) ?? [];
  return { host: bracketed ?? plain, port: port === undefined ? undefined : Number(port) };
}

/** All addresses of a name, in the order of preference. */
export type Resolve = (host: string, signal: AbortSignal) => Promise<readonly string[]>;

/** An address is tried after the other, no more than these. */
const MOST_ADDRESSES = 3;

/**
 * The addresses to connect to, each checked; a name is resolved first. Throws `DialFailure` `address-refused` when the
 * guard passes none, or what resolving threw.
 */
export async function allowedAddresses(
  { guard, resolve }: { readonly guard: DialGuard; readonly resolve: Resolve },
  { host, isLoopbackObserved }: DialTarget,
  signal: AbortSignal,
): Promise<readonly string[]> {
  const verdicts = (await addressesOf(host, resolve, signal)).map((one) => guard.check(one, { isLoopbackObserved }));
  const allowed = verdicts.flatMap((verdict) => (verdict.ok ? [verdict.address] : []));
  if (allowed.length > 0) return [...new Set(allowed)].slice(0, MOST_ADDRESSES);
  const refused = verdicts.find((verdict) => !verdict.ok);
  throw new DialFailure('address-refused', refused?.ok === false ? refused.detail : 'the name has no address');
}

async function addressesOf(host: string, resolve: Resolve, signal: AbortSignal): Promise<readonly string[]> {
  if (isIP(host) !== 0) return [host];
  if (isDisguisedAddress(host)) throw new DialFailure('address-refused', 'the host is a number in disguise');
  return resolve(host, signal);
}
