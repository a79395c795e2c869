import { markOfRules } from '../../policies/firewall-set.js';
import type { ProxySetting, SettingValues } from '../../policies/setting-values.js';
import { parseManagerUrl, parseProxy, type ManagerAddress, type ProxyAddress } from './manager-address.js';

/** What of the settings says how the agent's own connections reach a manager. */
export interface Route {
  /** Ordered; empty means the ones enrolled with. */
  readonly managerUrls: readonly string[];
  /** Ordered; empty means none. */
  readonly proxies: readonly ProxySetting[];
  /** Whether it connects without a proxy when all of them fail. */
  readonly fallbackDirect: boolean;
  /** The mark of the firewall's rules, where there are any: under others, another connection has to prove the way. */
  readonly firewall?: string;
}

/** What an operator at the computer set (`wardbeat-agent proxy set`, `enroll --proxy`). */
export interface LocalProxies {
  readonly proxies: readonly ProxySetting[];
  /** False forbids the direct way whatever the policy says. */
  readonly direct: boolean;
}

type RouteSettings = Pick<SettingValues, 'managerUrls' | 'proxies' | 'proxyFallbackDirect'> &
  Partial<Pick<SettingValues, 'firewallRules'>>;

/** A list set at the computer stands in for the policy's until it is cleared; of the two the stricter rule on the direct way holds. */
export function routeOf(
  { managerUrls, proxies, proxyFallbackDirect, firewallRules = [] }: RouteSettings,
  local?: LocalProxies,
): Route {
  const firewall = markOfRules(firewallRules);
  return {
    managerUrls,
    proxies: local ? local.proxies : proxies,
    fallbackDirect: proxyFallbackDirect && (local?.direct ?? true),
    ...(firewall === '' ? {} : { firewall }),
  };
}

/** Equal for routes that lead the same way. */
export function routeKey({ managerUrls, proxies, fallbackDirect, firewall }: Route): string {
  const way = [managerUrls, proxies.map(({ url, credential }) => [url, credential]), fallbackDirect];
  return JSON.stringify(firewall === undefined ? way : [...way, firewall]);
}

/** One manager, through one proxy or directly. */
export interface Path {
  readonly key: string;
  readonly proxy: ProxyAddress | undefined;
  readonly manager: ManagerAddress;
}

/** A direct way that stood in for failed proxies is left after this long: then they are tried first again. */
export const DIRECT_KEPT_MS = 900_000;

function pathOf(proxy: ProxyAddress | undefined, manager: ManagerAddress): Path {
  return { key: `${proxy?.url ?? ''} ${proxy?.credential ?? ''} ${manager.url}`, proxy, manager };
}

/** The paths of a route: those through the first proxy first, the direct ones last if at all. */
export function pathsOf(route: Route, enrolledUrls: readonly string[]): Path[] {
  const urls = route.managerUrls.length > 0 ? route.managerUrls : enrolledUrls;
  const managers = urls.map(parseManagerUrl).filter((one) => one !== undefined);
  const proxies = route.proxies.map(parseProxy).filter((one) => one !== undefined);
  const isDirect = route.proxies.length === 0 || route.fallbackDirect;
  const ways = isDirect ? [...proxies, undefined] : proxies;
  return ways.flatMap((proxy) => managers.map((manager) => pathOf(proxy, manager)));
}

/** Which path is next. The direct ones stand at the end of every order. */
export interface Choice {
  readonly order: readonly Path[];
  readonly cursor: number;
  /** When a direct path came to stand in for the proxies, monotonic milliseconds. */
  readonly directSince?: number | undefined;
}

export interface KnownPath {
  /** The URL, null for none. */
  readonly proxy: string | null;
  readonly managerUrl: string;
}

/** Begins at the path that worked last, where it is one through a proxy or nothing else is wanted. */
export function firstChoice(paths: readonly Path[], known?: KnownPath): Choice {
  const found = paths.find(
    ({ proxy, manager }) =>
      known !== undefined && (proxy?.url ?? null) === known.proxy && manager.url === known.managerUrl,
  );
  return found && (found.proxy || !hasProxies(paths)) ? startAt(paths, found) : { order: paths, cursor: 0 };
}

function hasProxies(paths: readonly Path[]): boolean {
  return paths.some(({ proxy }) => proxy !== undefined);
}

/** The order that begins at the path, every direct one behind all the others. */
function startAt(paths: readonly Path[], start: Path): Choice {
  const proxied = paths.filter(({ proxy }) => proxy !== undefined);
  const direct = paths.filter(({ proxy }) => proxy === undefined);
  const [turned, rest] = start.proxy ? [proxied, direct] : [direct, proxied];
  const at = Math.max(
    0,
    turned.findIndex(({ key }) => key === start.key),
  );
  const own = [...turned.slice(at), ...turned.slice(0, at)];
  return start.proxy ? { order: [...own, ...rest], cursor: 0 } : { order: [...rest, ...own], cursor: rest.length };
}

/** Proxies that a direct path stands in for are tried again after a while. */
export function choiceAt(choice: Choice, now: number): Choice {
  const { directSince, order } = choice;
  return directSince !== undefined && now - directSince >= DIRECT_KEPT_MS ? { order, cursor: 0 } : choice;
}

export function currentPath({ order, cursor }: Choice): Path | undefined {
  return order[cursor];
}

/** The path worked: it is kept until it fails. */
export function afterSuccess(choice: Choice, path: Path, now: number): Choice {
  const kept = startAt(choice.order, path);
  if (path.proxy || !hasProxies(choice.order)) return kept;
  return { ...kept, directSince: choice.directSince ?? now };
}

/** Goes on behind the path that failed; behind all of its proxy's where that one is to blame. */
export function afterFailure(
  { order, cursor }: Choice,
  failed: Path,
  { isOfProxy }: { readonly isOfProxy: boolean },
): Choice {
  if (order[cursor]?.key !== failed.key) return { order, cursor };
  const sameProxy = ({ proxy }: Path): boolean =>
    isOfProxy && proxy?.url === failed.proxy?.url && proxy?.credential === failed.proxy?.credential;
  let next = cursor + 1;
  for (let path = order[next]; path && sameProxy(path); path = order[next]) next += 1;
  return { order, cursor: next >= order.length ? 0 : next };
}
