import { join } from 'node:path';
import type { Fleet } from '../../scripts/fleet.js';
import { ALL_DIRECTIONS, joinFleet, makeToken, rootPolicyOf, startDirectedFleet } from './fleet-in-process.js';
import { ADMIN_PASSWORD, keptPorts, MANY_AGENTS, startManager, type ManagerProcess } from './manager-process.js';

export interface FleetWorldOptions {
  readonly root: string;
  /** Of the policy that has no parent. */
  readonly settings: Readonly<Record<string, unknown>>;
  readonly env?: Readonly<Record<string, string>>;
}

export interface JoinOptions {
  /** What the agents dial, unless it is the manager itself. */
  readonly agentUrl?: string;
  readonly token?: string;
}

/** A manager that comes back on the ports that it had, and fleets of real agents in this process. */
export class FleetWorld {
  readonly fleets: Fleet[] = [];
  readonly root: string;
  readonly #env: Readonly<Record<string, string>>;
  #manager: ManagerProcess | undefined;

  private constructor(root: string, env: Readonly<Record<string, string>>) {
    this.root = root;
    this.#env = env;
  }

  static async start({ root, settings, env }: FleetWorldOptions): Promise<FleetWorld> {
    const world = new FleetWorld(root, { ...MANY_AGENTS, ...(await keptPorts()), ...env });
    try {
      await world.startAgain();
      const { api } = world.manager;
      await api.patch(`/policies/${await rootPolicyOf(world.manager)}/settings`, settings);
      return world;
    } catch (error) {
      await world.end();
      throw error;
    }
  }

  get manager(): ManagerProcess {
    if (!this.#manager) throw new Error('The manager was not started');
    return this.#manager;
  }

  /** After it ended. */
  async startAgain(): Promise<void> {
    this.#manager = await startManager({ dataDir: join(this.root, 'manager'), env: this.#env });
    await this.#manager.api.signIn('admin', ADMIN_PASSWORD);
  }

  /** Agents named after the fleet, under the policy that has no parent unless the token is of another. */
  async join(name: string, agents: number, { agentUrl, token }: JoinOptions = {}): Promise<Fleet> {
    const url = agentUrl ?? this.manager.agentUrl;
    const asked = { root: this.root, agents, name, token: token ?? (await this.makeToken()) };
    return this.#keep(await joinFleet({ agentUrl: url }, asked));
  }

  /** Of the policy that has no parent. */
  async makeToken(): Promise<string> {
    return makeToken(this.manager, await rootPolicyOf(this.manager));
  }

  /** So many agents, a third of each direction; their listeners take the ports from there on. */
  async joinAllDirections(agents: number, listenersFrom: number): Promise<void> {
    const share = Math.ceil(agents / ALL_DIRECTIONS.length);
    for (const [index, direction] of ALL_DIRECTIONS.entries()) {
      const count = Math.floor((agents + index) / ALL_DIRECTIONS.length);
      const listenerBasePort = listenersFrom + index * share;
      const plan = { root: this.root, agents: count, direction, listenerBasePort };
      this.#keep(await startDirectedFleet(this.manager, plan));
    }
  }

  async killAll(): Promise<void> {
    await Promise.all(this.fleets.flatMap(({ agents }) => agents.map((agent) => agent.kill())));
  }

  async end(): Promise<void> {
    await this.killAll();
    await this.#manager?.stop();
  }

  #keep(fleet: Fleet): Fleet {
    this.fleets.push(fleet);
    return fleet;
  }
}
