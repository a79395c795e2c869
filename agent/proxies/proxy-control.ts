import type { Log } from '../../lib/log.js';
import { boolean, object, optional, array, string, type TypeOf } from '../../lib/schema.js';
import { proxy } from '../../policies/setting-elements.js';
import type { ProxySetting, SettingValues } from '../../policies/setting-values.js';
import type { DataDirectory } from '../data-directory.js';
import type { ProxySecret } from '../transport/proxy-tunnel.js';
import { routeOf, type LocalProxies, type Route } from '../transport/route-rules.js';
import { ManagerRefusal, toTransportError } from '../transport/transport-error.js';
import { readLocalProxies, readSecret, writeLocalProxies, writeSecret } from './proxy-files.js';

/** What `wardbeat-agent proxy set` and `clear` ask of a running agent. */
export const proxyChangeSchema = object({
  /** Null clears the list. */
  local: (value, pointer, errors) => (value === null ? null : localSchema(value, pointer, errors)),
  secret: optional(
    object({
      name: string({ max: 128 }),
      value: object({ username: string({ max: 255 }), password: string({ max: 1024 }) }),
    }),
  ),
  /** Without a trial. */
  force: boolean,
});
const localSchema = object({ proxies: array(proxy, 100), direct: boolean });
export type ProxyChange = TypeOf<typeof proxyChangeSchema>;

export interface ProxyChangeResult {
  readonly changed: boolean;
  /** Why the trial failed; null where it did not, or where there was none. */
  readonly failure: { readonly code: string; readonly detail: string } | null;
}

/** What `wardbeat-agent proxy list --json` prints. */
export interface ProxyList {
  readonly source: 'local' | 'policy' | 'none';
  readonly proxies: readonly { readonly url: string; readonly credential: string | null }[];
  /** Whether the agent connects without a proxy when all of them fail. */
  readonly direct: boolean;
  /** The proxy of the last exchange, null for none. */
  readonly inUse: string | null;
  /** What counts once the local list is cleared. */
  readonly policy: readonly { readonly url: string; readonly credential: string | null }[];
  /** Ordered, as connections are made. */
  readonly managerUrls: readonly string[];
}

export interface ListedFrom {
  readonly local: LocalProxies | undefined;
  readonly settings: SettingValues;
  readonly inUse: string | null | undefined;
  readonly enrolledUrls: readonly string[];
}

export function listProxies({ local, settings, inUse, enrolledUrls }: ListedFrom): ProxyList {
  const { proxies, fallbackDirect, managerUrls } = routeOf(settings, local);
  const policySource = settings.proxies.length > 0 ? 'policy' : 'none';
  return {
    source: local ? 'local' : policySource,
    proxies: proxies.map(shown),
    direct: proxies.length === 0 || fallbackDirect,
    inUse: inUse ?? null,
    policy: settings.proxies.map(shown),
    managerUrls: managerUrls.length > 0 ? managerUrls : enrolledUrls,
  };
}

function shown({ url, credential = null }: ProxySetting | { url: string; credential?: string | null }) {
  return { url, credential };
}

export interface ProxyControlDeps {
  readonly directory: DataDirectory;
  readonly log: Log;
  readonly settings: () => SettingValues;
  /** One exchange over a route that is not in force. */
  readonly tryOut: (route: Route) => Promise<void>;
  readonly onChange: () => void;
}

/** The list that an operator set at this computer, in a running agent: a change is tried out by an exchange before it counts. */
export class ProxyControl {
  readonly #deps: ProxyControlDeps;
  #local: LocalProxies | undefined;
  #tried: ProxyChange['secret'];
  #changing: Promise<unknown> = Promise.resolve();

  constructor(deps: ProxyControlDeps) {
    this.#deps = deps;
    this.#local = readLocalProxies(deps.directory);
  }

  get local(): LocalProxies | undefined {
    return this.#local;
  }

  /** Throws `TransportError`. */
  secretOf(name: string): ProxySecret {
    return this.#tried?.name === name ? this.#tried.value : readSecret(this.#deps.directory, name);
  }

  /** One change after another. */
  change(change: ProxyChange): Promise<ProxyChangeResult> {
    const result = this.#changing.then(() => this.#change(change));
    this.#changing = result.catch(() => undefined);
    return result;
  }

  async #change({ local, secret, force }: ProxyChange): Promise<ProxyChangeResult> {
    const failure = force ? null : await this.#tryOut(local ?? undefined, secret);
    if (failure) return { changed: false, failure };
    const { directory, log, onChange } = this.#deps;
    if (secret) writeSecret(directory, secret.name, secret.value);
    writeLocalProxies(directory, local ?? undefined);
    this.#local = local ?? undefined;
    log.info({ proxies: local?.proxies.map(({ url }) => url) ?? null }, 'The proxies of this computer were changed');
    onChange();
    return { changed: true, failure: null };
  }

  async #tryOut(local: LocalProxies | undefined, secret: ProxyChange['secret']): Promise<ProxyChangeResult['failure']> {
    this.#tried = secret;
    try {
      await this.#deps.tryOut(routeOf(this.#deps.settings(), local));
      return null;
    } catch (error) {
      // Whoever refuses was reached.
      if (error instanceof ManagerRefusal) return null;
      const { code, message } = toTransportError(error);
      return { code, detail: message };
    } finally {
      this.#tried = undefined;
    }
  }
}
