/** Who may be spoken to, and from where. */
export interface OriginRules {
  /** TLS is spoken: every host that leads here is served. */
  readonly secure: boolean;
  /** `WARDBEAT_ADMIN_ORIGIN`: the origin that browsers see, behind a proxy for example. */
  readonly adminOrigin: string | undefined;
}

const HOST = /^(?:\[([0-9a-fA-F:.]+)\]|([a-zA-Z0-9._-]+))(?::([0-9]{1,5}))?$/;
const LOOPBACK_NAMES: ReadonlySet<string> = new Set(['localhost', '127.0.0.1', '::1']);

/**
 * Whether a `Host` is served. Over plain HTTP (on loopback only) that is the loopback names and the admin origin's host:
 * a name that an attacker points at 127.0.0.1 is none of them.
 */
export function isServedHost(hosts: readonly string[], { secure, adminOrigin }: OriginRules): boolean {
  const [host] = hosts;
  if (host === undefined || hosts.length > 1) return false;
  const [, address, name] = HOST.exec(host) ?? [];
  const bare = (address ?? name)?.toLowerCase();
  if (bare === undefined) return false;
  if (secure || LOOPBACK_NAMES.has(bare)) return true;
  return adminOrigin !== undefined && new URL(adminOrigin).hostname.replace(/^\[|\]$/g, '') === bare;
}

export interface OriginHeaders {
  readonly host: string;
  readonly origin: string | undefined;
  readonly secFetchSite: string | undefined;
}

/** Whether a call that changes something comes from a page of ours, or from no page at all. */
export function isServedOrigin({ host, origin, secFetchSite }: OriginHeaders, rules: OriginRules): boolean {
  if (origin !== undefined) {
    const own = `${rules.secure ? 'https' : 'http'}://${host.toLowerCase()}`;
    return origin.toLowerCase() === own || (rules.adminOrigin !== undefined && origin === rules.adminOrigin);
  }
  return secFetchSite === undefined || secFetchSite === 'same-origin' || secFetchSite === 'none';
}

/** Addresses that only this machine reaches. */
export function isLoopbackHost(host: string): boolean {
  return host === 'localhost' || host === '::1' || /^127(?:\.\d{1,3}){3}$/.test(host);
}
