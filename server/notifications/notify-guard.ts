import { isIP } from 'node:net';
import { allowedAddresses, canonicalAddress, createDialGuard, type DialGuard, type Resolve } from '../dials/index.js';

/** Every address that is not special (loopback, link-local, metadata, multicast, …): receivers may be anywhere. */
const ANYWHERE = ['0.0.0.0/0', '::/0'];

export interface NotifyGuardDeps {
  /** CIDRs as configured; undefined: anywhere but the special ranges. */
  readonly allowed: readonly string[] | undefined;
  /** The manager's own database, which is no receiver; undefined for one on a socket of this machine. */
  readonly database: { readonly host: string; readonly port: number } | undefined;
  readonly resolve: Resolve;
}

export interface Target {
  readonly host: string;
  readonly port: number;
}

/** The addresses to connect to, each checked, a name being resolved first. Throws `DialFailure`. */
export type CheckTarget = (target: Target, signal: AbortSignal) => Promise<readonly string[]>;

/** The guard of dials, for what the manager connects to on an administrator's word. */
export function createNotifyGuard({ allowed, database, resolve }: NotifyGuardDeps): CheckTarget {
  const ranges = createDialGuard(allowed ?? ANYWHERE);
  const alone = new Set((allowed ?? []).map(addressListedAlone));
  return async ({ host, port }, signal) => {
    const own = database?.port === port ? await addressesOf(database.host, resolve, signal) : new Set<string>();
    const isOwn = (address: string): boolean => own.has(address) && !alone.has(address);
    const guard: DialGuard = {
      check(text, circumstances) {
        const verdict = ranges.check(text, circumstances);
        if (!verdict.ok) return { ok: false, detail: `${shown(text)} is not an address that notifications may go to` };
        return isOwn(verdict.address) ? { ok: false, detail: "it is the manager's own database" } : verdict;
      },
    };
    return allowedAddresses({ guard, resolve }, { host, port, isLoopbackObserved: false }, signal);
  };
}

async function addressesOf(host: string, resolve: Resolve, signal: AbortSignal): Promise<ReadonlySet<string>> {
  const found = isIP(host) === 0 ? await resolve(host, signal).catch(() => []) : [host];
  return new Set(found.map((address) => canonicalAddress(address) ?? address));
}

/** What a listed range of one address opens by name, also where a database is. */
function addressListedAlone(cidr: string): string | undefined {
  const [network = '', prefix] = cidr.split('/');
  return prefix === (isIP(network) === 4 ? '32' : '128') ? canonicalAddress(network) : undefined;
}

function shown(address: string): string {
  return address.slice(0, 64).replaceAll(/[^\w.:%-]/g, '?');
}
