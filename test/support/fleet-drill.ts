import { spawn, type ChildProcess } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { AcceptedEvent } from '../../scripts/fleet-events.js';
import type { ApiClient } from './api-client.js';
import { faultsOfEvents, listAll, type ListedEvent } from './event-ledger.js';
import { ADMIN_PASSWORD, type ManagerProcess } from './manager-process.js';
import { eventually } from './poll.js';

export interface DrillOptions {
  readonly root: string;
  readonly agents: number;
  readonly settings: Readonly<Record<string, unknown>>;
  readonly eventsPerBeat: number;
  /** More flags of `npm run fleet`, without their dashes, for each of its processes. */
  readonly flags?: Readonly<Record<string, string>>;
}

interface SeenComputer {
  readonly id: string;
  readonly name: string;
  readonly status: string;
  readonly lastSeenAt: string | null;
}

interface OpenAlert {
  readonly computerId: string;
  readonly state: string;
}

/** A fleet of real agents in as few processes as carry it, and what must hold of the manager's store whatever was done to it. */
export interface FleetDrill {
  /** The API of this life of the manager, by a key that outlives its restarts. */
  apiOf(manager: ManagerProcess): ApiClient;
  /** Every agent was heard after the instant (Unix milliseconds) and is online. */
  allOnline(manager: ManagerProcess, seenAfter?: number): Promise<void>;
  /** Faults at this moment: a `lastSeenAt` that went back, two open offline alerts of one computer. */
  look(manager: ManagerProcess): Promise<string[]>;
  /** Waits until what the spools accepted so far has arrived; answers what is missing, double or out of place. */
  faultsOfEvents(manager: ManagerProcess): Promise<string[]>;
  /** Events that the spools have accepted so far. */
  accepted(): readonly AcceptedEvent[];
  end(): void;
}

export async function startFleetDrill(manager: ManagerProcess, options: DrillOptions): Promise<FleetDrill> {
  const { agents } = options;
  await manager.api.signIn('admin', ADMIN_PASSWORD);
  const { key } = await manager.api.post<{ key: string }>('/api-keys', { name: 'drill', role: 'auditor' });
  const fleets = await startFleetProcesses(manager, options);
  const newest = new Map<string, string>();
  const apiOf = ({ api }: ManagerProcess) => withKey(api, key);
  const computersOf = (now: ManagerProcess) => listAll<SeenComputer>(apiOf(now), '/computers');
  const accepted = () => fleets.flatMap(({ eventLog }) => readAccepted(eventLog));
  return {
    apiOf,
    accepted,
    end: () => fleets.forEach(({ child }) => void child.kill('SIGKILL')),
    async allOnline(now, seenAfter = 0) {
      const isHeard = ({ name, status, lastSeenAt }: SeenComputer) =>
        name.startsWith('fleet-') && status === 'online' && Date.parse(lastSeenAt ?? '') >= seenAfter;
      const all = async () => (await computersOf(now)).filter(isHeard).length === agents;
      await eventually('every agent is online', all, 180_000);
    },
    async look(now) {
      const computers = await computersOf(now);
      const open = await listAll<OpenAlert>(apiOf(now), '/alerts?type=computer-offline');
      return [...goneBack(computers, newest), ...doubleAlerts(open)];
    },
    faultsOfEvents: async (now) => compare(accepted(), apiOf(now), await computersOf(now)),
  };
}

function withKey(api: ApiClient, key: string): ApiClient {
  const headers = { authorization: `Bearer ${key}` };
  return {
    ...api,
    async get<T>(path: string) {
      const answer = await api.request<T>('GET', path, { headers });
      if (answer.status !== 200) throw new Error(`GET ${path} answered ${answer.status}`);
      return answer.body;
    },
  };
}

interface FleetProcess {
  readonly child: ChildProcess;
  readonly eventLog: string;
}

/** Each agent keeps seven files open, and 20,000 are what many a machine allows a process. */
const AGENTS_PER_PROCESS = 2500;

async function startFleetProcesses(manager: ManagerProcess, options: DrillOptions): Promise<readonly FleetProcess[]> {
  const { root, agents, settings } = options;
  const { items } = await manager.api.get<{ items: { id: string }[] }>('/policies');
  const policyId = items[0]?.id ?? '';
  await manager.api.patch(`/policies/${policyId}/settings`, settings);
  const request = { policyId, uses: agents, expiresInSeconds: 3600, ratePerSecond: 1000 };
  const { token } = await manager.api.post<{ token: string }>('/enrollment-tokens', request);
  const tokenFile = join(root, 'token');
  writeFileSync(tokenFile, token, { mode: 0o600 });
  const shared = { manager: manager.agentUrl, 'token-file': tokenFile };
  const count = Math.ceil(agents / AGENTS_PER_PROCESS);
  return Array.from({ length: count }, (_, index) => {
    const own = Math.floor((agents * (index + 1)) / count) - Math.floor((agents * index) / count);
    return startFleetProcess(options, { ...shared, agents: String(own), 'name-prefix': `fleet-${index + 1}` });
  });
}

function startFleetProcess(
  { root, eventsPerBeat, flags: more }: DrillOptions,
  given: Readonly<Record<'name-prefix', string>> & Readonly<Record<string, string>>,
): FleetProcess {
  const directory = join(root, given['name-prefix']);
  const eventLog = `${directory}-accepted-events`;
  writeFileSync(eventLog, '');
  const flags = { ...given, dir: directory, 'events-per-beat': String(eventsPerBeat), 'event-log': eventLog, ...more };
  const words = Object.entries(flags).flatMap(([name, value]) => [`--${name}`, value]);
  const program = ['dist/scripts/fleet.js', ...words];
  return { child: spawn(process.execPath, program, { stdio: ['ignore', 'ignore', 'inherit'] }), eventLog };
}

function readAccepted(file: string): AcceptedEvent[] {
  const text = readFileSync(file, 'utf8');
  // The last line may be half-way written.
  const whole = text.slice(0, text.lastIndexOf('\n') + 1);
  return whole.split('\n').flatMap((line) => (line === '' ? [] : [JSON.parse(line) as AcceptedEvent]));
}

function goneBack(computers: readonly SeenComputer[], newest: Map<string, string>): string[] {
  return computers.flatMap(({ id, name, lastSeenAt }) => {
    const before = newest.get(id);
    if (lastSeenAt !== null && lastSeenAt >= (before ?? '')) newest.set(id, lastSeenAt);
    else if (before !== undefined) return [`${name}: last seen went from ${before} to ${lastSeenAt}`];
    return [];
  });
}

function doubleAlerts(alerts: readonly OpenAlert[]): string[] {
  const open = alerts.filter(({ state }) => state === 'raised' || state === 'acknowledged');
  const doubled = open.filter(({ computerId }, index) => open.findIndex((o) => o.computerId === computerId) !== index);
  return doubled.map(({ computerId }) => `${computerId}: two open offline alerts`);
}

const KIND = 'fleet-event';

async function compare(
  accepted: readonly AcceptedEvent[],
  api: ApiClient,
  computers: readonly SeenComputer[],
): Promise<string[]> {
  const faults: string[] = [];
  const wantedOf = new Map(computers.map(({ id }): [string, AcceptedEvent[]] => [id, []]));
  for (const event of accepted) wantedOf.get(event.computerId)?.push(event);
  for (const { id, name } of computers) {
    const wanted = (wantedOf.get(id) ?? []).map(idOf);
    const events = await eventually(
      `the events of ${name} have arrived`,
      async () => {
        const listed = await listAll<ListedEvent>(api, `/computers/${id}/events`);
        const there = new Set(listed.filter(({ kind }) => kind === KIND).map(idOf));
        return wanted.every((one) => there.has(one)) ? listed : undefined;
      },
      60_000,
    ).catch(() => undefined);
    if (!events) faults.push(`${name}: some accepted events never arrived`);
    else faults.push(...faultsOfEvents(events).map((fault) => `${name}: ${fault}`));
  }
  return faults;
}

function idOf({ lane, epoch, sequence, message }: Omit<AcceptedEvent, 'computerId'>): string {
  return `${lane}/${epoch}/${sequence}/${message}`;
}
