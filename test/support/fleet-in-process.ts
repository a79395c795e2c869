import { join } from 'node:path';
import { parseManagerUrl } from '../../agent/transport/tls-connection.js';
import { createSystemClock } from '../../lib/clock.js';
import { createLog } from '../../lib/log.js';
import { createSystemRandom } from '../../lib/random.js';
import { startFleet, type Fleet } from '../../scripts/fleet.js';
import { listAll } from './event-ledger.js';
import type { ManagerProcess } from './manager-process.js';
import { eventually } from './poll.js';

/** Of the setting `communicationDirection`. */
export const ALL_DIRECTIONS = ['agentInitiated', 'bidirectional', 'managerInitiated'] as const;
export type Direction = (typeof ALL_DIRECTIONS)[number];

export interface FleetPlan {
  readonly root: string;
  readonly agents: number;
  readonly direction: Direction;
  /** Agent n listens on this port + n. */
  readonly listenerBasePort?: number;
}

export interface SeenComputer {
  readonly id: string;
  readonly name: string;
  readonly status: string;
  readonly lastSeenAt: string | null;
  readonly offlineAt: string | null;
  readonly settingsState: string;
}

export interface SeenAlert {
  readonly id: string;
  readonly type: string;
  readonly state: string;
  /** Null of an alert that is about no computer, or about many. */
  readonly computerName: string | null;
  readonly reason: string | null;
  readonly raisedAt: string;
  readonly occurrences: number;
  readonly detail: Readonly<Record<string, unknown>>;
}

/** An alert about the manager itself. */
export interface DegradedAlert extends SeenAlert {
  readonly detail: {
    readonly deafSeconds: number;
    readonly deafSecondsByCause: Readonly<Record<string, number>>;
    readonly spans: readonly { readonly cause: string }[];
  };
}

type AskedManager = Pick<ManagerProcess, 'api'>;

export const computersOf = ({ api }: ManagerProcess) => listAll<SeenComputer>(api, '/computers');
/** All alerts but those of collectors: many agents in one process on a busy machine read their counters too slowly. */
export async function alertsOf({ api }: AskedManager): Promise<readonly SeenAlert[]> {
  return (await listAll<SeenAlert>(api, '/alerts')).filter(({ type }) => type !== 'component-offline');
}

const DEGRADED = 'manager-degraded';

/** What is said of computers, of one or of many together, but not what the manager says of itself. */
export async function accusationsOf(manager: AskedManager): Promise<readonly SeenAlert[]> {
  return (await alertsOf(manager)).filter(({ type }) => type !== DEGRADED);
}

/** What the manager says of itself. */
export const degradationsOf = ({ api }: AskedManager) => listAll<DegradedAlert>(api, `/alerts?type=${DEGRADED}`);

/** What the manager says of itself and should not, where it was deaf by this cause alone. */
export async function degradationsBut(cause: string, manager: AskedManager): Promise<readonly DegradedAlert[]> {
  const isOf = ({ detail: { deafSeconds, deafSecondsByCause } }: DegradedAlert) =>
    2 * (deafSecondsByCause[cause] ?? 0) > deafSeconds;
  return (await degradationsOf(manager)).filter((alert) => !isOf(alert));
}

/** An alert in a few words: its type, and of whom. */
export function inWords({ type, computerName }: Pick<SeenAlert, 'type' | 'computerName'>): string {
  return computerName === null ? type : `${type} ${computerName}`;
}

/** The id of the policy that has no parent. */
export async function rootPolicyOf({ api }: ManagerProcess): Promise<string> {
  const { items } = await api.get<{ items: { id: string; parentId: string | null }[] }>('/policies');
  return items.find(({ parentId }) => parentId === null)?.id ?? '';
}

/** A token for many computers of one policy. */
export async function makeToken({ api }: ManagerProcess, policyId: string): Promise<string> {
  const asked = { policyId, uses: 100_000, expiresInSeconds: 3600, ratePerSecond: 1000 };
  return (await api.post<{ token: string }>('/enrollment-tokens', asked)).token;
}

/** Real agents in this process under a policy of their own that says who dials. */
export async function startDirectedFleet(manager: ManagerProcess, plan: FleetPlan): Promise<Fleet> {
  const { root, agents, direction, listenerBasePort } = plan;
  const asked = {
    name: direction,
    parentId: await rootPolicyOf(manager),
    settings: { communicationDirection: direction },
  };
  const { id } = await manager.api.post<{ id: string }>('/policies', asked);
  return joinFleet(manager, { root, agents, name: direction, token: await makeToken(manager, id), listenerBasePort });
}

/** Enrolls and starts agents with a token, which dial that URL. */
export function joinFleet(
  manager: Pick<ManagerProcess, 'agentUrl'>,
  plan: { root: string; agents: number; name: string; token: string; listenerBasePort?: number | undefined },
): Promise<Fleet> {
  const { listenerBasePort } = plan;
  const address = parseManagerUrl(manager.agentUrl);
  if (!address) throw new Error('The manager told no URL');
  const options = {
    agents: plan.agents,
    manager: address,
    token: plan.token,
    directory: join(plan.root, plan.name),
    clock: createSystemClock(),
    random: createSystemRandom(),
    log: createLog({ name: 'fleet', level: 'silent' }),
    namePrefix: plan.name,
    ...(listenerBasePort === undefined ? {} : { listenerBasePort }),
  };
  return startFleet(options);
}

/** Waits until so many computers are online. */
export async function untilOnline(manager: ManagerProcess, count: number): Promise<void> {
  const online = async () => (await computersOf(manager)).filter(({ status }) => status === 'online').length;
  await eventually(`${count} computers are online`, async () => (await online()) === count, 120_000);
}
