import { readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';

import { readFlags, type ReadFlags } from '../agent/arguments.js';
import { AGENT_VERSION, platform } from '../agent/agent-version.js';
import { createHostCollectors, systemSources, type HostCollectors } from '../agent/collectors/host-collectors.js';
import { composeAgent } from '../agent/compose.js';
import type { Daemon } from '../agent/daemon.js';
import { dataDirectory, prepareDirectory, readIdentity, type IdentityFile } from '../agent/data-directory.js';
import { enrollDirectory } from '../agent/enroll-directory.js';
import { EXIT, explainFailure } from '../agent/exit-codes.js';
import type { ContactState } from '../agent/heartbeat-loop.js';
import { parseManagerUrl, type ManagerAddress } from '../agent/transport/tls-connection.js';
import { ManagerRefusal, TransportError } from '../agent/transport/transport-error.js';
import { backoffDelayMs } from '../lib/backoff.js';
import { createSystemClock, readBootId, type Clock } from '../lib/clock.js';
import { busy, createGate, type Gate } from '../lib/gate.js';
import { createLog, type Log } from '../lib/log.js';
import { createSystemRandom, type Random } from '../lib/random.js';
import { DIRECTIONS, type CommunicationDirection } from '../policies/setting-values.js';
import { emitFleetEvents } from './fleet-events.js';

export interface FleetOptions {
  readonly agents: number;
  readonly manager: ManagerAddress;
  readonly token: string;
  /** Each agent gets a folder in it. */
  readonly directory: string;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  /** The starts are spread over so many milliseconds. */
  readonly staggerMs?: number;
  readonly namePrefix?: string;
  /** How agents begin that were never in contact. */
  readonly direction?: CommunicationDirection | undefined;
  /** Agent n, counted from 1, listens on this port + n. */
  readonly listenerBasePort?: number | undefined;
  /** An agent changed its state. */
  readonly onChange?: () => void;
}

export type FleetCounts = Readonly<Record<ContactState, number>>;

export interface FleetAgent {
  readonly computerId: string;
  readonly name: string;
  readonly directory: string;
  /** Undefined while stopped. */
  readonly daemon: Daemon | undefined;
  start(): Promise<void>;
  /** With goodbye. */
  stop(): Promise<void>;
  /** Without goodbye, as a kill would. */
  kill(): Promise<void>;
}

export interface Fleet {
  readonly agents: readonly FleetAgent[];
  counts(): FleetCounts;
  /** Stops all, with goodbyes. */
  stop(): Promise<void>;
}

const ENROLLING_AT_ONCE = 8;
const STOPPING_AT_ONCE = 32;
/** More would share one processor and all be too late, where each would be in time on a machine of its own. */
const ATTEMPTS_AT_ONCE = 64;
const REUSE_READINGS_MS = 1000;
const ENROLLMENT_RETRY = { firstMs: 500, capMs: 5000 };
const MAX_ENROLLMENT_ATTEMPTS = 120;

/** Enrolls and starts real agents in this process; what is enrolled already in the directory is taken over. */
export async function startFleet(options: FleetOptions): Promise<Fleet> {
  const { clock, agents: count, staggerMs = 0 } = options;
  const directory = resolve(options.directory);
  prepareDirectory(dataDirectory(directory));
  const collectors = createHostCollectors({
    clock,
    sources: systemSources(directory),
    reuseMs: REUSE_READINGS_MS,
  });
  const inTurn = createGate({ width: ATTEMPTS_AT_ONCE, length: count, refusal: busy('Too many agents want a turn.') });
  const shared = { collectors, inTurn };
  const members: Member[] = Array.from({ length: count }, (_, index) => createMember(index, options, shared));
  await inParallel(members, ENROLLING_AT_ONCE, (member) => member.enroll());
  const fleet = { agents: members, counts: () => countStates(members), stop: () => stopAll(members) };
  try {
    for (const member of members) {
      await member.start();
      if (staggerMs > 0) await clock.sleep(staggerMs / count);
    }
  } catch (error) {
    await fleet.stop();
    throw error;
  }
  return fleet;
}

async function stopAll(members: readonly Member[]): Promise<void> {
  await inParallel(members, STOPPING_AT_ONCE, (member) => member.stop());
}

function countStates(members: readonly Member[]): FleetCounts {
  const counts = { starting: 0, online: 0, retrying: 0, refused: 0, stopped: 0 };
  for (const { contact } of members) counts[contact] += 1;
  return counts;
}

interface Member extends FleetAgent {
  readonly contact: ContactState;
  enroll(): Promise<void>;
}

function createMember(
  index: number,
  options: FleetOptions,
  shared: { readonly collectors: HostCollectors; readonly inTurn: Gate },
): Member {
  const { clock, random, log, namePrefix = DEFAULT_NAME_PREFIX, direction, listenerBasePort } = options;
  const name = `${namePrefix}-${String(index + 1).padStart(5, '0')}`;
  const directory = dataDirectory(join(options.directory, name));
  let identity: IdentityFile | undefined;
  let daemon: Daemon | undefined;
  const end = async (how: 'stop' | 'abort'): Promise<void> => {
    const running = daemon;
    daemon = undefined;
    await running?.[how]();
    options.onChange?.();
  };
  return {
    name,
    directory: directory.path,
    get computerId() {
      return identity?.computerId ?? '';
    },
    get daemon() {
      return daemon;
    },
    get contact() {
      return daemon?.status().state ?? 'stopped';
    },
    async enroll() {
      identity = readIdentity(directory) ?? (await enrollPatiently({ ...options, directory, name }));
    },
    async start() {
      daemon ??= await composeAgent({
        directory,
        clock,
        random,
        log: log.child({ agent: name }),
        bootId: readBootId(),
        clockDetection: false,
        ...shared,
        ...(direction === undefined ? {} : { firstDirection: direction }),
        ...(listenerBasePort === undefined ? {} : { listenerPort: listenerBasePort + index + 1 }),
        onStateChange: () => options.onChange?.(),
      });
      await daemon.start();
    },
    stop: () => end('stop'),
    kill: () => end('abort'),
  };
}

/** The manager limits enrollments: what it turns away for now is asked again. */
async function enrollPatiently(
  options: Omit<FleetOptions, 'directory'> & { directory: ReturnType<typeof dataDirectory>; name: string },
): Promise<IdentityFile> {
  const { clock, random } = options;
  for (let attempt = 0; ; attempt += 1) {
    try {
      return await enrollDirectory({
        ...options,
        bootId: readBootId(),
        agentVersion: AGENT_VERSION,
        platform: platform(),
      });
    } catch (error) {
      if (attempt >= MAX_ENROLLMENT_ATTEMPTS || !isForNow(error)) throw error;
      const asked = error instanceof ManagerRefusal ? (error.facts.retryAfterMs ?? 0) : 0;
      await clock.sleep(asked + backoffDelayMs(attempt, ENROLLMENT_RETRY, random));
    }
  }
}

function isForNow(error: unknown): boolean {
  if (error instanceof ManagerRefusal) return error.status === 429 || error.status === 503;
  return error instanceof TransportError && !error.code.startsWith('tls-');
}

async function inParallel<T>(items: readonly T[], width: number, work: (item: T) => Promise<void>): Promise<void> {
  const left = [...items];
  const run = async (): Promise<void> => {
    for (let item = left.shift(); item !== undefined; item = left.shift()) await work(item);
  };
  await Promise.all(Array.from({ length: Math.min(width, items.length) }, run));
}

const FLAGS = {
  values: [
    'agents',
    'manager',
    'token-file',
    'dir',
    'name-prefix',
    'direction',
    'listener-base-port',
    'stagger-seconds',
    'events-per-beat',
    'event-log',
  ],
  switches: ['help'],
};
const DEFAULT_STAGGER_SECONDS = 5;
const DEFAULT_DIRECTORY = 'agent-data/fleet';
const DEFAULT_NAME_PREFIX = 'fleet';

const USAGE = `npm run fleet -- --agents N --manager URL --token-file F [--dir DIR] [--name-prefix NAME] [--stagger-seconds S]
                 [--direction D] [--listener-base-port P] [--events-per-beat N [--event-log FILE]]
Runs N real agents in one process until it is asked to stop; the counts of their states go to stderr.
Each agent has a folder in DIR (${DEFAULT_DIRECTORY} unless given); what is enrolled there already goes on.
Agent n is called NAME-n (${DEFAULT_NAME_PREFIX}-n unless given); beside other processes take a DIR and a NAME for each.
The starts are spread over S seconds (${DEFAULT_STAGGER_SECONDS} unless given).
Agents that were never in contact begin with direction D (bidirectional, managerInitiated or agentInitiated) instead
of their policy's, until the manager's settings say otherwise.
Agent n listens on P + n instead of the port in its policy.
Each emits N events per interval; FILE lists what their spools accepted.`;

interface FleetFlags {
  readonly agents: number;
  readonly manager: ManagerAddress;
  readonly token: string;
  readonly directory: string;
  readonly namePrefix: string;
  readonly staggerMs: number;
  readonly direction: CommunicationDirection | undefined;
  readonly listenerBasePort: number | undefined;
  readonly eventsPerBeat: number;
  readonly eventLog: string | undefined;
}

function readFleetFlags({ values, faults }: ReadFlags): FleetFlags | readonly string[] {
  const manager = parseManagerUrl(values.get('manager') ?? '');
  const agents = Number(values.get('agents'));
  const all = [...faults, ...eventFaults(values)];
  if (!Number.isInteger(agents) || agents < 1) all.push('--agents must be a positive integer');
  if (!manager) all.push('--manager must be https://host:port');
  const token = readTokenFile(values.get('token-file'), all);
  const staggerMs = readStagger(values.get('stagger-seconds'), all);
  const listening = readListening(values, { agents, faults: all });
  if (all.length > 0 || !manager) return all;
  const directory = values.get('dir') ?? DEFAULT_DIRECTORY;
  const namePrefix = values.get('name-prefix') ?? DEFAULT_NAME_PREFIX;
  const eventsPerBeat = Number(values.get('events-per-beat') ?? 0);
  const eventLog = values.get('event-log');
  return { agents, manager, token, staggerMs, directory, namePrefix, eventsPerBeat, eventLog, ...listening };
}

function readListening(
  values: ReadFlags['values'],
  { agents, faults }: { readonly agents: number; readonly faults: string[] },
): Pick<FleetFlags, 'direction' | 'listenerBasePort'> {
  const given = values.get('direction');
  const direction = DIRECTIONS.find((name) => name === given);
  if (given !== undefined && !direction) faults.push(`--direction must be one of ${DIRECTIONS.join(', ')}`);
  const base = values.get('listener-base-port');
  const listenerBasePort = base === undefined ? undefined : Number(base);
  const isGood =
    listenerBasePort === undefined || (/^\d{1,5}$/.test(base ?? '') && listenerBasePort + agents <= 65_535);
  if (!isGood) faults.push('--listener-base-port must be a port, and the ports of all agents at most 65535');
  return { direction, listenerBasePort };
}

function eventFaults(values: ReadonlyMap<string, string>): string[] {
  return /^\d{1,6}$/.test(values.get('events-per-beat') ?? '0') ? [] : ['--events-per-beat must be a whole number'];
}

function readStagger(text: string | undefined, faults: string[]): number {
  const seconds = Number(text ?? DEFAULT_STAGGER_SECONDS);
  if (!(seconds >= 0 && seconds < Infinity)) faults.push('--stagger-seconds must be a number from 0');
  return seconds * 1000;
}

function readTokenFile(path: string | undefined, faults: string[]): string {
  try {
    if (path !== undefined) return readFileSync(path, 'utf8').trim();
    faults.push('--token-file F is missing');
  } catch (error) {
    faults.push(`the token file cannot be read: ${error instanceof Error ? error.message : String(error)}`);
  }
  return '';
}

async function main(argv: readonly string[]): Promise<number> {
  const given = readFlags(argv, FLAGS);
  if (given.switches.has('help')) {
    console.log(USAGE);
    return EXIT.ok;
  }
  const flags = readFleetFlags(given);
  if (!('agents' in flags)) {
    for (const fault of flags) console.error(`fleet: ${fault}`);
    console.error(USAGE);
    return EXIT.usage;
  }
  try {
    await runFleet(flags);
    return EXIT.ok;
  } catch (error) {
    return explainFailure(error, { name: 'fleet', complain: (text) => console.error(text) });
  }
}

async function runFleet(flags: FleetFlags): Promise<void> {
  const clock = createSystemClock();
  const stopping = new AbortController();
  process.once('SIGTERM', () => stopping.abort());
  process.once('SIGINT', () => stopping.abort());
  const summary = createSummary(clock, stopping.signal);
  const log = createLog({ name: 'fleet', level: 'error', toStderr: true });
  const fleet = await startFleet({ ...flags, clock, random: createSystemRandom(), log, onChange: summary.changed });
  const { eventsPerBeat: perBeat, eventLog: logFile } = flags;
  const events =
    perBeat > 0
      ? emitFleetEvents({ agents: fleet.agents, perBeat, logFile, clock, log }, stopping.signal)
      : Promise.resolve();
  await summary.follow(fleet);
  await events;
  await fleet.stop();
  summary.print(fleet);
}

const SUMMARY_EVERY_MS = 1000;

/** One JSON line on stderr per second in which something changed. */
function createSummary(clock: Clock, signal: AbortSignal) {
  let isDue = true;
  const print = (fleet: Fleet): void =>
    console.error(JSON.stringify({ agents: fleet.agents.length, ...fleet.counts() }));
  return {
    changed: (): void => void (isDue = true),
    print,
    async follow(fleet: Fleet): Promise<void> {
      while (!signal.aborted) {
        if (isDue) print(fleet);
        isDue = false;
        await clock.sleep(SUMMARY_EVERY_MS, signal).catch(() => undefined);
      }
    },
  };
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) process.exitCode = await main(process.argv.slice(2));
