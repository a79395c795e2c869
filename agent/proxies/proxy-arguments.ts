import { readBy } from '../../lib/schema.js';
import { proxy } from '../../policies/setting-elements.js';
import type { ProxySetting } from '../../policies/setting-values.js';
import type { ReadFlags } from '../arguments.js';
import { isCredentialName, parseSecret, type GivenProxies } from './proxy-files.js';

export interface ReadingProxies {
  /** `URL[,URL…]`. */
  readonly list: string;
  readonly flags: Pick<ReadFlags, 'values' | 'switches'>;
  readonly readFile: (path: string) => string;
  /** Faults are added to it; none of them repeats a password. */
  readonly faults: string[];
}

export const PROXY_VALUES = ['credential', 'secret-file'] as const;
export const PROXY_SWITCHES = ['no-direct'] as const;
const MAX_PROXIES = 100;
const USER_INFO =
  'a proxy URL must not contain user info, which the process list shows: use --credential NAME --secret-file F';

export function readGivenProxies({ list, flags, readFile, faults }: ReadingProxies): GivenProxies {
  const name = flags.values.get('credential');
  if (name !== undefined && !isCredentialName(name))
    faults.push('--credential must be a name of letters, digits, ".", "_", "-"');
  // Nothing of such a list is repeated: a comma may stand in the password.
  if (list.includes('@')) {
    faults.push(USER_INFO);
    return { proxies: [], direct: true, secret: undefined };
  }
  const proxies = list.split(',').map((url) => toSetting(url.trim(), name, faults));
  if (proxies.length > MAX_PROXIES)
    faults.push(`there are ${proxies.length} proxies and must be at most ${MAX_PROXIES}`);
  if (new Set(proxies.map(({ url }) => url)).size < proxies.length) faults.push('a proxy is named twice');
  const secret = readSecretFile(flags.values.get('secret-file'), { name, readFile, faults });
  return { proxies, direct: !flags.switches.has('no-direct'), secret };
}

function toSetting(url: string, credential: string | undefined, faults: string[]): ProxySetting {
  const setting = credential === undefined ? { url } : { url, credential };
  try {
    return readBy(proxy, setting);
  } catch {
    faults.push(`a proxy must be http://host[:port] or https://host[:port], not "${url}"`);
    return setting;
  }
}

function readSecretFile(
  path: string | undefined,
  { name, readFile, faults }: { name: string | undefined; readFile: (path: string) => string; faults: string[] },
): GivenProxies['secret'] {
  if (path === undefined) return undefined;
  if (name === undefined) {
    faults.push('--secret-file needs --credential NAME');
    return undefined;
  }
  try {
    const value = parseSecret(readFile(path));
    if (value) return { name, value };
    faults.push('the secret file must hold one line: user:password');
  } catch (error) {
    faults.push(`the secret file cannot be read: ${error instanceof Error ? error.message : String(error)}`);
  }
  return undefined;
}
