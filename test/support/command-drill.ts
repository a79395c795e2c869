import { randomUUID } from 'node:crypto';
import { join, resolve } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { pathToFileURL } from 'node:url';
import { enrollAgent, runAgentCli } from './agent-cli.js';
import { spawnAgent, type AgentProcess } from './agent-process.js';
import { faultsOfEvents, faultsOfOrder, listAll, type ListedEvent } from './event-ledger.js';
import { createExternalPostgres } from './external-postgres.js';
import { dyingAt, FAIL_POINTS, type FailPoint } from './fail-points.js';
import { freePort } from './free-port.js';
import { ADMIN_PASSWORD, startManager, type ManagerProcess } from './manager-process.js';
import { eventually } from './poll.js';

/** Where an agent may be killed on a command's road. */
export const AGENT_FAIL_POINTS = ['command-unwritten', 'command-written', 'state-written', 'report-unsent'] as const;

/** Where an agent may be killed on the road of an event batch. */
export const AGENT_EVENT_POINTS = [
  /** The records are handed in and not written; they are written, and nobody was answered. */
  'records-unwritten',
  'records-written',
  /** The report that carries them is built and not kept; it is kept. */
  'report-unkept',
  'report-kept',
  'report-unsent',
  /** The orders are there, and the position is not kept; it is kept. */
  'position-unwritten',
  'position-written',
] as const;
export type AgentFailPoint = (typeof AGENT_FAIL_POINTS)[number] | (typeof AGENT_EVENT_POINTS)[number];

export type KillPoint =
  | { readonly victim: 'manager'; readonly at: FailPoint }
  | { readonly victim: 'agent'; readonly at: AgentFailPoint }
  | { readonly victim: 'manager' | 'agent' | 'both'; readonly at: 'any' };

export const KILL_POINTS: readonly KillPoint[] = [
  ...FAIL_POINTS.map((at) => ({ victim: 'manager', at }) as const),
  ...AGENT_FAIL_POINTS.map((at) => ({ victim: 'agent', at }) as const),
  { victim: 'manager', at: 'any' },
  { victim: 'agent', at: 'any' },
  { victim: 'both', at: 'any' },
];

/** Each step of an event batch, and any moment. */
export const EVENT_KILL_POINTS: readonly KillPoint[] = [
  ...FAIL_POINTS.map((at) => ({ victim: 'manager', at }) as const),
  ...AGENT_EVENT_POINTS.map((at) => ({ victim: 'agent', at }) as const),
  { victim: 'manager', at: 'any' },
  { victim: 'agent', at: 'any' },
  { victim: 'both', at: 'any' },
];

interface ShownCommand {
  readonly id: string;
  readonly type: string;
  readonly state: string;
  readonly reason: string | null;
}

/** `rotate-certificate` never runs twice, and the manager refuses one too many; the others may, and succeed. */
const TYPES = ['ping', 'rotate-certificate', 'get-config', 'rotate-certificate'] as const;
const ENDED = ['succeeded', 'failed', 'expired', 'cancelled'];
const LATEST_PASS = 4;
const LATEST_MS = 1500;
const DEAD_WITHIN_MS = 15_000;

interface Work {
  /** Queued in each round. */
  readonly commands: readonly string[];
  /** Calls of `emit` in each round, and events of each. */
  readonly emits: number;
  readonly events: number;
}

export const COMMANDS_AND_EVENTS: Work = { commands: TYPES, emits: 1, events: 40 };
export const EVENT_BATCHES: Work = { commands: [], emits: 4, events: 700 };

/** A real manager on a database of its own and one real agent, killed while commands and events are on their way. */
export class CommandDrill {
  readonly #root: string;
  readonly #doing: Work;
  readonly #keys = new Set<string>();
  readonly #logs: string[] = [];
  #database: Awaited<ReturnType<typeof createExternalPostgres>> | undefined;
  #env: Record<string, string> = {};
  #manager: ManagerProcess | undefined;
  #agent: AgentProcess | undefined;
  #computerId = '';
  #calls = 0;
  /** Events that were accepted, by their message: each call has its own, so what was stored unanswered hides no loss. */
  readonly #accepted = new Map<string, number>();

  constructor(root: string, work: Work = COMMANDS_AND_EVENTS) {
    this.#root = root;
    this.#doing = work;
  }

  get manager(): ManagerProcess {
    if (!this.#manager) throw new Error('The manager was not started');
    return this.#manager;
  }

  async start(): Promise<void> {
    this.#database = await createExternalPostgres(join(this.#root, 'database'));
    await this.#database.start();
    this.#env = {
      ...this.#database.env,
      WARDBEAT_AGENT_PORT: String(await freePort()),
      WARDBEAT_ADMIN_PORT: String(await freePort()),
    };
    await this.#startManager();
    const { api, agentUrl } = this.manager;
    const { items } = await api.get<{ items: { id: string }[] }>('/policies');
    const policyId = items[0]?.id ?? '';
    await api.patch(`/policies/${policyId}/settings`, {
      heartbeatIntervalSeconds: 5,
      eventRateLimitPerMinute: 100_000,
      listenerPort: await freePort(),
    });
    const request = { policyId, uses: 1, expiresInSeconds: 600 };
    const { token } = await api.post<{ token: string }>('/enrollment-tokens', request);
    this.#computerId = await enrollAgent(this.#directory, { manager: agentUrl, token, name: 'web1' });
    this.#startAgent();
    await this.#online();
  }

  async end(): Promise<void> {
    await this.#agent?.kill('SIGKILL');
    await this.#manager?.stop();
    await this.#database?.end();
  }

  /** Queues commands and emits events, kills at the point, and starts again what died. */
  async round(point: KillPoint): Promise<void> {
    const passes = 1 + Math.floor(Math.random() * LATEST_PASS);
    if (point.at !== 'any') await this.#arm(point, passes);
    const working = this.#work();
    if (point.at === 'any') await this.#killSoon(point.victim);
    else await this.#awaitDeath(point.victim === 'manager' ? this.manager.ended : this.#agent?.ended);
    await this.#revive(point.victim);
    await working;
  }

  /** What came of everything so far, once all of it has ended. */
  async verdict(): Promise<Record<string, unknown>> {
    const commands = await eventually('every command ends', () => this.#allEnded(), 120_000);
    const events = await eventually('every event arrives', () => this.#allEvents(), 120_000);
    // Whatever was killed while certificates were renewed.
    await this.#online();
    const begun = this.#begins();
    const doubled = commands.filter(({ id, type }) => type === 'rotate-certificate' && (begun.get(id) ?? 0) > 1);
    const lost = commands.filter((command) => !isAsExpected(command, begun.get(command.id) ?? 0));
    const faults = [...faultsOfEvents(events), ...faultsOfOrder(events)];
    return {
      commands: commands.length,
      queued: this.#keys.size,
      interrupted: commands.filter(({ reason }) => reason === 'interrupted').length,
      renewed: commands.filter(({ type, state }) => type === 'rotate-certificate' && state === 'succeeded').length,
      lost: lost.length + this.#keys.size - commands.length,
      doubled: doubled.length,
      events: [...this.#accepted.values()].reduce((sum, count) => sum + count, 0),
      eventFaults: faults,
      lostCommands: lost,
    };
  }

  get #directory(): string {
    return join(this.#root, 'agent');
  }

  async #startManager(extra: Readonly<Record<string, string>> = {}): Promise<void> {
    this.#manager = await startManager({ dataDir: join(this.#root, 'manager'), env: { ...this.#env, ...extra } });
    await this.#manager.api.signIn('admin', ADMIN_PASSWORD);
  }

  #startAgent(env: Record<string, string> = {}): void {
    this.#keepLog();
    this.#agent = spawnAgent(['run', '--dir', this.#directory], { env });
  }

  #keepLog(): void {
    if (this.#agent) this.#logs.push(this.#agent.stderr());
  }

  /** A process that will die at the point takes the place of the one that runs. */
  async #arm(point: KillPoint, passes: number): Promise<void> {
    if (point.victim === 'manager') {
      await this.manager.stop();
      // It may die before it serves anybody: then it is as dead as it should be.
      await this.#startManager(dyingAt(point.at as FailPoint, passes + LATEST_PASS)).catch(() => undefined);
      return;
    }
    await this.#agent?.kill('SIGKILL');
    const preload = pathToFileURL(resolve('dist/test/support/agent-failpoint-preload.js')).href;
    const DRILL_AGENT_FAILPOINT = `${point.at}:${passes}`;
    this.#startAgent({ NODE_OPTIONS: `--import=${preload}`, DRILL_AGENT_FAILPOINT });
  }

  async #killSoon(victim: KillPoint['victim']): Promise<void> {
    await delay(Math.random() * LATEST_MS);
    if (victim !== 'agent') this.manager.kill('SIGKILL');
    if (victim !== 'manager') await this.#agent?.kill('SIGKILL');
    if (victim !== 'agent') await this.manager.ended;
  }

  async #awaitDeath(ended: Promise<unknown> | undefined): Promise<void> {
    await Promise.race([ended, delay(DEAD_WITHIN_MS)]);
    // It was not passed so often: dead it is all the same.
  }

  async #revive(victim: KillPoint['victim']): Promise<void> {
    if (victim !== 'agent') {
      this.manager.kill('SIGKILL');
      await this.manager.ended;
      await this.#startManager();
    }
    if (victim === 'manager') return;
    await this.#agent?.kill('SIGKILL');
    this.#startAgent();
  }

  /** Whatever dies meanwhile: each is asked for again until it was accepted, the commands under the same keys. */
  async #work(): Promise<void> {
    for (const type of this.#doing.commands) {
      const idempotencyKey = randomUUID();
      this.#keys.add(idempotencyKey);
      const path = `/computers/${this.#computerId}/commands`;
      await eventually('a command is queued', () => this.#queue(path, { type, idempotencyKey }), 60_000);
    }
    const { emits, events } = this.#doing;
    for (let done = 0; done < emits; done += 1)
      await eventually('events are accepted', () => this.#emit(events), 60_000);
  }

  async #emit(count: number): Promise<boolean> {
    this.#calls += 1;
    const message = `canary ${this.#calls}`;
    const args = ['--kind', 'log', '--severity', 'info', '--message', message, '--count', String(count)];
    const { code } = await runAgentCli(['emit', '--dir', this.#directory, ...args]);
    if (code === 0) this.#accepted.set(message, count);
    return code === 0;
  }

  async #queue(path: string, body: object): Promise<boolean> {
    try {
      await this.manager.api.post(path, body);
      return true;
    } catch {
      return false;
    }
  }

  async #online(): Promise<void> {
    const isOnline = async () =>
      (await this.manager.api.get<{ status: string }>(`/computers/${this.#computerId}`)).status === 'online';
    await eventually('the agent is online', isOnline);
  }

  async #allEnded(): Promise<ShownCommand[] | undefined> {
    const commands = await listAll<ShownCommand>(this.manager.api, `/computers/${this.#computerId}/commands`);
    return commands.every(({ state }) => ENDED.includes(state)) ? commands : undefined;
  }

  async #allEvents(): Promise<ListedEvent[] | undefined> {
    const events = await listAll<ListedEvent>(this.manager.api, `/computers/${this.#computerId}/events`);
    const stored = new Map<string, number>();
    for (const { message } of events) stored.set(message, (stored.get(message) ?? 0) + 1);
    const isThere = [...this.#accepted].every(([message, count]) => (stored.get(message) ?? 0) >= count);
    return isThere ? events : undefined;
  }

  /** How often each command was begun, over all lives of the agent. */
  #begins(): ReadonlyMap<string, number> {
    const begins = new Map<string, number>();
    for (const log of [...this.#logs, this.#agent?.stderr() ?? ''])
      for (const [, id = ''] of log.matchAll(/"commandId":"([^"]+)"[^\n]*"msg":"A command begins"/g))
        begins.set(id, (begins.get(id) ?? 0) + 1);
    return begins;
  }
}

/** Every command ends as its type does; only one that must not run twice may be told as interrupted. */
function isAsExpected({ type, state, reason }: ShownCommand, begins: number): boolean {
  if (type !== 'rotate-certificate') return state === 'succeeded' && begins > 0;
  if (state === 'succeeded') return begins === 1;
  if (state !== 'failed') return false;
  return reason === 'interrupted' || (begins === 1 && (reason === 'refused' || reason === 'timeout'));
}
