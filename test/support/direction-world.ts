import { join } from 'node:path';
import { enrollAgent, runAgentCli, startAgent, type Elsewhere, type RunningAgent } from './agent-cli.js';
import { ADMIN_PASSWORD, makeDataDir, removeDataDir, startManager, type ManagerProcess } from './manager-process.js';
import { eventually } from './poll.js';

export interface DirectedComputer {
  readonly id: string;
  readonly status: string;
  readonly lastSeenAt: string | null;
  readonly settingsState: string;
  readonly communicationDirection: string;
  readonly carrierInUse: string;
  readonly channel: { readonly state: string; readonly since: string | null; readonly reason: string | null };
  readonly listenerReachable: boolean | null;
  readonly components: readonly { readonly name: string; readonly state: string }[];
  readonly listener: { readonly state: string; readonly port: number | null } | null;
  readonly lastDial: { readonly at: string; readonly result: string } | null;
}

interface AgentStatus {
  readonly state: string;
  readonly lastError: { readonly code: string } | null;
  readonly direction: string;
  readonly connectionMode: string;
  readonly channel: { readonly state: string; readonly detail: string | null };
  readonly settings: { readonly applied: string | null; readonly candidate: string | null };
}

interface Alert {
  readonly type: string;
  readonly state: string;
  readonly reason: string;
}

/** A real manager and real agents as processes, for tests of who dials whom. */
export class DirectionWorld {
  readonly #root = makeDataDir();
  readonly #agents: RunningAgent[] = [];
  readonly #outputs = new Map<string, RunningAgent>();
  #manager: ManagerProcess;

  private constructor(manager: ManagerProcess) {
    this.#manager = manager;
  }

  get manager(): ManagerProcess {
    return this.#manager;
  }

  /** `env` is the manager's. */
  static async start(env: Readonly<Record<string, string>> = {}): Promise<DirectionWorld> {
    const manager = await startManager({ env });
    await manager.api.signIn('admin', ADMIN_PASSWORD);
    return new DirectionWorld(manager);
  }

  /** Another process on the same data, at other ports: agents that dial do not find it. */
  async restartManager(): Promise<void> {
    await this.#manager.stop();
    this.#manager = await startManager({ dataDir: this.#manager.dataDir });
    await this.#manager.api.signIn('admin', ADMIN_PASSWORD);
  }

  /** The next life of a manager that has ended. */
  async replaceManager(env: Readonly<Record<string, string>>): Promise<void> {
    this.#manager = await startManager({ dataDir: this.#manager.dataDir, env });
    await this.#manager.api.signIn('admin', ADMIN_PASSWORD);
  }

  async end(): Promise<void> {
    for (const agent of this.#agents) await agent.kill('SIGKILL');
    await this.manager.stop();
    removeDataDir(this.manager.dataDir);
    removeDataDir(this.#root);
  }

  async newPolicy(name: string, settings: object): Promise<string> {
    const { items } = await this.manager.api.get<{ items: { id: string; name: string }[] }>('/policies');
    const parentId = items.find((one) => one.name === 'Base Policy')?.id;
    return (await this.manager.api.post<{ id: string }>('/policies', { name, parentId, settings })).id;
  }

  edit(policyId: string, settings: object) {
    return this.manager.api.patch(`/policies/${policyId}/settings`, settings);
  }

  async enroll(policyId: string, name: string, more: readonly string[] = []): Promise<string> {
    const request = { policyId, uses: 1, expiresInSeconds: 600 };
    const { token } = await this.manager.api.post<{ token: string }>('/enrollment-tokens', request);
    return enrollAgent(this.directoryOf(name), { manager: this.manager.agentUrl, token, name, more });
  }

  run(name: string, args: readonly string[] = [], elsewhere?: Elsewhere): RunningAgent {
    const agent = startAgent(this.directoryOf(name), args, elsewhere);
    this.#agents.push(agent);
    this.#outputs.set(name, agent);
    return agent;
  }

  /** What the agent of that name printed. */
  output(name: string): string {
    return this.#outputs.get(name)?.output() ?? '';
  }

  computer(id: string): Promise<DirectedComputer> {
    return this.manager.api.get<DirectedComputer>(`/computers/${id}`);
  }

  async alertsOf(id: string): Promise<readonly Alert[]> {
    return (await this.manager.api.get<{ items: Alert[] }>(`/alerts?computerId=${id}`)).items;
  }

  async hasAlert(id: string, type: string, state: string): Promise<boolean> {
    return (await this.alertsOf(id)).some((alert) => alert.type === type && alert.state === state);
  }

  async statusOf(name: string): Promise<AgentStatus> {
    return JSON.parse((await runAgentCli(['status', '--dir', this.directoryOf(name), '--json'])).stdout) as AgentStatus;
  }

  /** Both ends say that the direction is in force. */
  inForce(direction: string, { id, name }: { id: string; name: string }): Promise<DirectedComputer> {
    return eventually(`${direction} is in force`, async () => {
      const shown = await this.computer(id);
      // Asking the agent takes a process: it is asked when the manager is satisfied.
      if (shown.settingsState !== 'applied' || shown.communicationDirection !== direction) return undefined;
      const { direction: own, settings } = await this.statusOf(name);
      return own === direction && settings.candidate === null ? shown : undefined;
    });
  }

  async applied(id: string, what: string): Promise<void> {
    await eventually(what, async () => (await this.computer(id)).settingsState === 'applied');
  }

  heardAgain(id: string): Promise<DirectedComputer> {
    const asked = Date.now();
    return eventually('it is heard again', async () => {
      const shown = await this.computer(id);
      return Date.parse(shown.lastSeenAt ?? '') > asked ? shown : undefined;
    });
  }

  directoryOf(name: string): string {
    return join(this.#root, name);
  }
}
