import type { Log } from '../../lib/log.js';
import { boolean, object, optional, array, string, type TypeOf } from '../../lib/schema.js';
import { proxy } from '../../policies/setting-elements.js';
import type { ProxySetting, SettingValues } from '../../policies/setting-values.js';
import type { DataDirectory } from '../data-directory.js';
import type { ProxySecret } from '../transport/proxy-tunnel.js';
import { routeOf, type LocalProxies, type Route } from '../transport/route-rules.js';
import type { WayTaken } from '../transport/tls-connection.js';
import { ManagerRefusal, toTransportError, type TransportError } from '../transport/transport-error.js';
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

interface ToldFailure {
  readonly code: string;
  readonly detail: string;
}

/** What became of a trial. */
export interface Trial {
  /** Why it failed; null where it did not, or where there was none. */
  readonly failure: ToldFailure | null;
  /** The proxy that led to a manager, null for the direct way; null itself where none did, or the manager refused the exchange. */
  readonly way: { readonly proxy: string | null } | null;
  /** How the proxies before that one failed, or what the manager said against the exchange. */
  readonly warning: ToldFailure | null;
}

export interface ProxyChangeResult extends Trial {
  readonly changed: boolean;
}

export const NO_TRIAL: Trial = { failure: null, way: null, warning: null };

/** What a trial goes over: a list that is set here has to lead to a manager by itself, whatever stands in for it later. */
export function trialRoute(settings: SettingValues, local: LocalProxies | undefined): Route {
  const route = routeOf(settings, local);
  return local ? { ...route, fallbackDirect: false } : route;
}

/** Of a trial that came through. */
export function trialOver({ proxy, warning }: WayTaken): Trial {
  return { failure: null, way: { proxy: proxy ?? null }, warning: warning ? toldOf(warning) : null };
}

/** Whoever refuses was reached. */
export function trialThatThrew(error: unknown): Trial {
  if (error instanceof ManagerRefusal) return { ...NO_TRIAL, warning: toldOf(error) };
  return { ...NO_TRIAL, failure: toldOf(toTransportError(error)) };
}

function toldOf({ code, message: detail }: ManagerRefusal | TransportError): ToldFailure {
  return { code, detail };
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
  readonly tryOut: (route: Route) => Promise<WayTaken>;
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
    const trial = force ? NO_TRIAL : await this.#tryOut(local ?? undefined, secret);
    if (trial.failure) return { changed: false, ...trial };
    const { directory, log, onChange } = this.#deps;
    if (secret) writeSecret(directory, secret.name, secret.value);
    writeLocalProxies(directory, local ?? undefined);
    this.#local = local ?? undefined;
    log.info({ proxies: local?.proxies.map(({ url }) => url) ?? null }, 'The proxies of this computer were changed');
    onChange();
    return { changed: true, ...trial };
  }

  async #tryOut(local: LocalProxies | undefined, secret: ProxyChange['secret']): Promise<Trial> {
    this.#tried = secret;
    try {
      return trialOver(await this.#deps.tryOut(trialRoute(this.#deps.settings(), local)));
    } catch (error) {
      return trialThatThrew(error);
    } finally {
      this.#tried = undefined;
    }
  }
}
