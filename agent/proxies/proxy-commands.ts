import type { Clock } from '../../lib/clock.js';
import { isPlainObject } from '../../lib/schema.js';
import type { SettingValues } from '../../policies/setting-values.js';
import { parseSettings } from '../apply-settings.js';
import { ATTEMPT_LIMIT_MS } from '../beat-rules.js';
import type { ProxyCommand } from '../config.js';
import { getIdentity, prepareDirectory, type DataDirectory, type Identity } from '../data-directory.js';
import { EXIT, type ExitCode } from '../exit-codes.js';
import { ownerOf } from '../identity-check.js';
import { AgentNotRunning, callAgent } from '../local-socket/socket-client.js';
import { DurableStore } from '../spool/durable-store.js';
import { StateStore, type Progress } from '../state-store.js';
import { ManagerTransport } from '../transport/manager-transport.js';
import type { ProxySecret } from '../transport/proxy-tunnel.js';
import type { Route } from '../transport/route-rules.js';
import {
  listProxies,
  NO_TRIAL,
  trialOver,
  trialRoute,
  trialThatThrew,
  type ProxyChange,
  type ProxyChangeResult,
  type ProxyList,
  type Trial,
} from './proxy-control.js';
import { readLocalProxies, readSecret, writeLocalProxies, writeSecret } from './proxy-files.js';

export interface ProxyCommandContext {
  readonly clock: Clock;
  readonly bootId: string;
  readonly print: (text: string) => void;
  readonly complain: (text: string) => void;
}

/** The exchange in flight, the trial, and time to spare. */
const CALL_MS = 3 * ATTEMPT_LIMIT_MS;

/** Runs `wardbeat-agent proxy …`; a running agent carries the change out itself. Throws `NotEnrolled`. */
export async function runProxyCommand(command: ProxyCommand, context: ProxyCommandContext): Promise<ExitCode> {
  const { directory } = command;
  getIdentity(directory);
  if (command.action === 'list') return printList(await readList(directory, context), command, context);
  if (command.action === 'test') return testPaths(await readList(directory, context), command, context);
  const { given, force } = command;
  const local = given ? { proxies: given.proxies, direct: given.direct } : null;
  const change: ProxyChange = { local, force, ...(given?.secret ? { secret: given.secret } : {}) };
  return tell(await carryOut(change, directory, context), change, context);
}

function tell(
  { changed, failure, way, warning }: ProxyChangeResult,
  change: ProxyChange,
  context: ProxyCommandContext,
) {
  const { print, complain } = context;
  if (failure) complain(`${failure.code}: ${failure.detail}; nothing was changed (--force does it untried)`);
  if (!changed) return EXIT.notInContact;
  const { local } = change;
  print((local ? 'The proxies were changed' : "The policy's proxies count again") + describeWay(way));
  if (warning) complain(`${warning.code}: ${warning.detail}`);
  if (way && local && local.proxies.length > 1)
    complain('wardbeat-agent: one that leads to the manager is enough; "wardbeat-agent proxy test" tries each');
  return EXIT.ok;
}

function describeWay(way: ProxyChangeResult['way']): string {
  if (!way) return '';
  return way.proxy === null ? '; the manager was reached directly' : `; the manager was reached through ${way.proxy}`;
}

async function askRunning<T>(directory: DataDirectory, { clock }: ProxyCommandContext, request: object) {
  try {
    const call = { folder: directory.path, name: directory.socketName, clock, milliseconds: CALL_MS };
    return (await callAgent(call, request)) as T;
  } catch (error) {
    if (error instanceof AgentNotRunning) return undefined;
    throw error;
  }
}

async function carryOut(
  change: ProxyChange,
  directory: DataDirectory,
  context: ProxyCommandContext,
): Promise<ProxyChangeResult> {
  const answer = await askRunning<ProxyChangeResult>(directory, context, { op: 'proxy-change', ...change });
  if (answer) return answer;
  prepareDirectory(directory);
  return withStopped(directory, context, async (stopped) => {
    const trial = change.force ? NO_TRIAL : await tryStopped(stopped, { change, directory, context });
    if (trial.failure) return { changed: false, ...trial };
    if (change.secret) writeSecret(directory, change.secret.name, change.secret.value);
    writeLocalProxies(directory, change.local ?? undefined);
    return { changed: true, ...trial };
  });
}

interface Stopped {
  readonly identity: Identity;
  readonly settings: SettingValues;
  readonly progress: Progress;
}

/** Under the directory's lock. */
async function withStopped<T>(
  directory: DataDirectory,
  { clock }: ProxyCommandContext,
  action: (stopped: Stopped) => Promise<T>,
): Promise<T> {
  const { store } = await DurableStore.open(directory.store, clock);
  try {
    const identity = getIdentity(directory);
    const state = await StateStore.open(store, { owner: ownerOf(identity), firstSequence: 0 });
    const json = state.settings?.json ?? '{}';
    return await action({ identity, settings: parseSettings(json), progress: state.progress });
  } finally {
    await store.close();
  }
}

interface Trying {
  readonly change: ProxyChange;
  readonly directory: DataDirectory;
  readonly context: ProxyCommandContext;
}

/** Without a running agent a verified connection has to do. */
function tryStopped(
  { identity, settings, progress }: Stopped,
  { change: { local, secret }, directory, context }: Trying,
): Promise<Trial> {
  const secretOf = (name: string): ProxySecret => (secret?.name === name ? secret.value : readSecret(directory, name));
  return tryRoute(trialRoute(settings, local ?? undefined), { identity, progress, secretOf, context });
}

interface Means {
  readonly identity: Identity;
  readonly progress?: Progress | undefined;
  readonly secretOf: (name: string) => ProxySecret;
  readonly context: ProxyCommandContext;
}

async function tryRoute(route: Route, { identity, progress, secretOf, context }: Means): Promise<Trial> {
  const { clock, bootId } = context;
  const transport = new ManagerTransport({ identity, clock, bootId, anchor: () => progress?.anchor, secretOf });
  try {
    const { socket, ...way } = await transport.open(ATTEMPT_LIMIT_MS, new AbortController().signal, route);
    socket.destroy();
    return trialOver(way);
  } catch (error) {
    return trialThatThrew(error);
  }
}

async function readList(directory: DataDirectory, context: ProxyCommandContext): Promise<ProxyList> {
  const running = await askRunning<ProxyList>(directory, context, { op: 'proxies' });
  if (isPlainObject(running)) return running as unknown as ProxyList;
  return withStopped(directory, context, async ({ settings, progress, identity }) =>
    listProxies({
      local: readLocalProxies(directory),
      settings,
      inUse: progress.proxy,
      enrolledUrls: identity.managerUrls,
    }),
  );
}

function printList(list: ProxyList, { json }: ProxyCommand, { print }: ProxyCommandContext): ExitCode {
  if (json) print(JSON.stringify(list));
  else for (const line of describeList(list)) print(line);
  return EXIT.ok;
}

const SOURCES = {
  local: 'set at this computer, in place of the policy',
  policy: 'of the policy',
  none: 'no proxy',
} as const;

function describeList({ source, proxies, direct, inUse }: ProxyList): string[] {
  return [
    SOURCES[source],
    ...proxies.map(({ url, credential }) => `${url}${credential === null ? '' : ` (secret ${credential})`}`),
    ...(source === 'none' ? [] : [direct ? 'directly, when all of them fail' : 'never directly']),
    `in use: ${inUse ?? 'none'}`,
  ];
}

/** One line of `proxy test`. */
export interface TestedPath {
  readonly proxy: string | null;
  readonly manager: string;
  readonly ok: boolean;
  readonly milliseconds: number;
  readonly code: string | null;
  readonly detail: string | null;
}

const AT_ONCE = 8;

/** Each proxy by itself, then the direct way; 0 where at least one of them leads to a manager. */
async function testPaths(list: ProxyList, command: ProxyCommand, context: ProxyCommandContext): Promise<ExitCode> {
  const { directory, json } = command;
  const means = { identity: getIdentity(directory), secretOf: (name: string) => readSecret(directory, name), context };
  const ways = [...list.proxies.map((one) => [one]), ...(list.direct ? [[]] : [])];
  const routes = ways.flatMap((proxies) => list.managerUrls.map((url) => [proxies, url] as const));
  const paths: TestedPath[] = [];
  for (let from = 0; from < routes.length; from += AT_ONCE)
    paths.push(
      ...(await Promise.all(routes.slice(from, from + AT_ONCE).map(([proxies, url]) => testPath(proxies, url, means)))),
    );
  if (json) context.print(JSON.stringify({ paths }));
  else for (const path of paths) context.print(describeTested(path));
  return paths.some(({ ok }) => ok) ? EXIT.ok : EXIT.notInContact;
}

async function testPath(proxies: ProxyList['proxies'], url: string, means: Means): Promise<TestedPath> {
  const { clock } = means.context;
  const begun = clock.monotonic();
  const settings = proxies.map(({ url: own, credential }) =>
    credential === null ? { url: own } : { url: own, credential },
  );
  const { failure } = await tryRoute({ managerUrls: [url], proxies: settings, fallbackDirect: false }, means);
  const milliseconds = Math.round(clock.monotonic() - begun);
  const { code, detail } = failure ?? { code: null, detail: null };
  return { proxy: proxies[0]?.url ?? null, manager: url, ok: !failure, milliseconds, code, detail };
}

function describeTested({ proxy, manager, ok, milliseconds, code, detail }: TestedPath): string {
  const way = `${proxy ?? 'directly'} to ${manager}`;
  return ok ? `${way}: ok in ${milliseconds} ms` : `${way}: ${code}: ${detail}`;
}
