/** `https://host:port` of a manager's agent port. */
export interface ManagerAddress {
  readonly url: string;
  readonly host: string;
  readonly port: number;
}

const DEFAULT_AGENT_PORT = 4120;

/** Undefined for anything but an https URL without path, query and user info. */
export function parseManagerUrl(text: string): ManagerAddress | undefined {
  if (!URL.canParse(text)) return undefined;
  const url = new URL(text);
  if (url.protocol !== 'https:' || !isBare(url)) return undefined;
  const port = url.port === '' ? (/:443\/?$/.test(text) ? 443 : DEFAULT_AGENT_PORT) : Number(url.port);
  return { url: `https://${url.hostname}:${port}`, host: bareHost(url), port };
}

/** `http://host:port` or `https://host:port` of an HTTP proxy, and the name of its secret. */
export interface ProxyAddress {
  /** Without user info, always with a port. */
  readonly url: string;
  readonly isTls: boolean;
  readonly host: string;
  readonly port: number;
  readonly credential: string | undefined;
}

/** Undefined for anything but a bare http or https URL; without a port it is 80 or 443. */
export function parseProxy({
  url: text,
  credential,
}: {
  readonly url: string;
  readonly credential?: string;
}): ProxyAddress | undefined {
  if (!URL.canParse(text)) return undefined;
  const url = new URL(text);
  const isTls = url.protocol === 'https:';
  if ((url.protocol !== 'http:' && !isTls) || !isBare(url)) return undefined;
  const usual = isTls ? 443 : 80;
  const port = url.port === '' ? usual : Number(url.port);
  return { url: `${url.protocol}//${url.hostname}:${port}`, isTls, host: bareHost(url), port, credential };
}

/** A host, perhaps a port, and nothing else. */
function isBare({ hostname, pathname, search, hash, username, password }: URL): boolean {
  return hostname !== '' && pathname === '/' && `${search}${hash}${username}${password}` === '';
}

/** An IPv6 address without its brackets. */
function bareHost({ hostname }: URL): string {
  return hostname.replace(/^\[|\]$/g, '');
}

/** `host:port` as a request names it (RFC 9112 §3.2.3). */
export function authorityOf({ host, port }: { readonly host: string; readonly port: number }): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
}
