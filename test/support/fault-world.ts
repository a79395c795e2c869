import { expect } from 'chai';
import { join } from 'node:path';
import type { FleetAgent } from '../../scripts/fleet.js';
import { createExternalPostgres, type ExternalPostgres } from './external-postgres.js';
import { createFakeWall, findFaketime, type FakeWall } from './faketime.js';
import { accusationsOf, inWords, untilOnline, type SeenAlert } from './fleet-in-process.js';
import { FleetWorld } from './fleet-world.js';
import type { ManagerProcess } from './manager-process.js';
import { eventually } from './poll.js';

export interface FaultWorldOptions {
  readonly root: string;
  readonly agents: number;
  readonly settings: {
    readonly heartbeatIntervalSeconds: number;
    readonly heartbeatsMissedAllowed: number;
    readonly heartbeatGraceSeconds: number;
  };
  /** The listeners of the fleet take the ports from here on. */
  readonly listenersFrom: number;
}

/** An agent that was stopped; instants by this machine's clock, Unix milliseconds. */
export interface Victim {
  readonly agent: FleetAgent;
  /** Its silence counts from a moment between these two on. */
  readonly silentFrom: readonly [number, number];
  /** Asked when it is called offline: time that counts for nobody beside the fault itself, ms. */
  readonly excusedMs?: () => Promise<number>;
  /** How long after its deadline it is known at the latest; 5 s unless given. */
  readonly noticedWithinMs?: number;
}

/** A manager whose database and wall clock a test holds in its hand, and a fleet of all directions in this process. */
export interface FaultWorld {
  manager(): ManagerProcess;
  readonly database: ExternalPostgres;
  /** Undefined where libfaketime is not installed. */
  readonly wall: FakeWall | undefined;
  /** Sets the manager's wall clock so far beside the machine's. */
  stepTo(offsetMs: number): void;
  /** Starts it again after it ended, on the same ports. */
  restart(): Promise<void>;
  /** Stops an agent without goodbye; each call takes another direction than the one before. */
  killOne(): Promise<FleetAgent>;
  /**
   * Waits until the victim is called offline, looks whether it was so at its deadline and whether it alone was, and starts
   * it again; until all are online.
   */
  found(victim: Victim): Promise<void>;
  /** Nothing was said of others than the victims so far, and each of them was called offline once; what failed before is not told again. */
  nobodyElseIsAccused(): Promise<void>;
  /** The manager answers, and its agent port takes reports. */
  isListening(): Promise<boolean>;
  killAll(): Promise<void>;
  end(): Promise<void>;
}

const OFFLINE = 'computer-offline';
const SLACK_MS = 5000;
const NOTICED_WITHIN_MS = 5000;
const ATTEMPT_MS = 10_000;

export async function startFaultWorld(options: FaultWorldOptions): Promise<FaultWorld> {
  const world = new World(options);
  await world.start().catch(async (error: unknown) => {
    await world.end();
    throw error;
  });
  return world;
}

class World implements FaultWorld {
  readonly #options: FaultWorldOptions;
  readonly #victims: FleetAgent[] = [];
  readonly wall: FakeWall | undefined;
  #database: ExternalPostgres | undefined;
  #fleets: FleetWorld | undefined;
  #offsetMs = 0;
  /** False accusations that failed a test and do not fail the next one too. */
  readonly #told = new Set<string>();

  constructor(options: FaultWorldOptions) {
    this.#options = options;
    const library = findFaketime();
    this.wall = library === undefined ? undefined : createFakeWall(library, join(options.root, 'clock'));
  }

  get database(): ExternalPostgres {
    if (!this.#database) throw new Error('The world has not begun');
    return this.#database;
  }

  get #world(): FleetWorld {
    if (!this.#fleets) throw new Error('The world has not begun');
    return this.#fleets;
  }

  manager(): ManagerProcess {
    return this.#world.manager;
  }

  async start(): Promise<void> {
    const { root, agents, settings, listenersFrom } = this.#options;
    this.#database = await createExternalPostgres(join(root, 'database'));
    await this.#database.start();
    this.#fleets = await FleetWorld.start({ root, settings, env: { ...this.wall?.env, ...this.#database.env } });
    await this.#fleets.joinAllDirections(agents, listenersFrom);
    await untilOnline(this.manager(), agents);
  }

  restart(): Promise<void> {
    return this.#world.startAgain();
  }

  stepTo(offsetMs: number): void {
    this.#offsetMs = offsetMs;
    this.wall?.stepTo(offsetMs);
  }

  async killOne(): Promise<FleetAgent> {
    const turn = this.#victims.length;
    const { fleets } = this.#world;
    const agent = fleets[turn % fleets.length]?.agents[Math.floor(turn / fleets.length)];
    if (!agent) throw new Error('There is no agent left to stop');
    this.#victims.push(agent);
    await agent.kill();
    return agent;
  }

  async found(victim: Victim): Promise<void> {
    let alertId: string;
    try {
      alertId = await this.#calledOffline(victim);
      await this.nobodyElseIsAccused();
    } finally {
      await victim.agent.start();
    }
    await untilOnline(this.manager(), this.#options.agents);
    await this.nobodyElseIsAccused();
    const its = (await accusationsOf(this.manager())).find(({ id }) => id === alertId);
    expect(its?.state, 'its alert').to.equal('resolved');
  }

  /** Answers the id of the alert, which came in time. */
  async #calledOffline({ agent, silentFrom: [earliest, latest], excusedMs, noticedWithinMs }: Victim): Promise<string> {
    const { heartbeatIntervalSeconds, heartbeatsMissedAllowed, heartbeatGraceSeconds } = this.#options.settings;
    const intervalMs = heartbeatIntervalSeconds * 1000;
    const longestMs = (heartbeatsMissedAllowed + 1) * intervalMs + heartbeatGraceSeconds * 1000;
    const isIts = ({ type, state, computerName }: SeenAlert) =>
      type === OFFLINE && state === 'raised' && computerName === agent.name;
    const within = latest - Date.now() + longestMs + 2 * SLACK_MS + intervalMs;
    const alert = await eventually(
      `${agent.name} is called offline`,
      async () => (await accusationsOf(this.manager())).find(isIts),
      excusedMs ? 2 * within : within,
    );
    const noticedMs = Date.now() + this.#offsetMs - Date.parse(alert.raisedAt);
    const afterMs = Date.parse(alert.raisedAt) - this.#offsetMs - earliest;
    const deafMs = (await excusedMs?.()) ?? 0;
    // After time in which it was deaf the manager waits for a retry of each agent.
    const excused = deafMs > 0 ? deafMs + intervalMs + ATTEMPT_MS + heartbeatGraceSeconds * 1000 : 0;
    console.error(JSON.stringify({ victim: agent.name, offlineAfterMs: afterMs, noticedMs, excusedMs: excused }));
    // Of the agents that the manager dials, a silence counts by dials that failed, which come an interval apart.
    expect(afterMs, 'offline so long after it fell silent, ms').to.be.within(
      longestMs - intervalMs - SLACK_MS,
      latest - earliest + longestMs + intervalMs + excused + SLACK_MS,
    );
    expect(noticedMs, 'known so long after the deadline, ms').to.be.within(-1000, noticedWithinMs ?? NOTICED_WITHIN_MS);
    return alert.id;
  }

  async nobodyElseIsAccused(): Promise<void> {
    const accused = await accusationsOf(this.manager());
    const isExpected = ({ type, computerName, occurrences }: SeenAlert) =>
      type === OFFLINE &&
      occurrences === 1 &&
      this.#victims.some(({ name }) => name === computerName) &&
      accused.filter((other) => other.computerName === computerName).length === 1;
    const falsely = accused.filter((alert) => !isExpected(alert) && !this.#told.has(timeOf(alert)));
    for (const alert of falsely) this.#told.add(timeOf(alert));
    expect(falsely.map(inFull), 'falsely accused').to.deep.equal([]);
  }

  async isListening(): Promise<boolean> {
    const { listening } = await this.manager().api.get<{ listening: { deaf: string | null } }>('/system');
    return listening.deaf === null;
  }

  killAll(): Promise<void> {
    return this.#world.killAll();
  }

  async end(): Promise<void> {
    await this.#fleets?.end();
    await this.#database?.end();
  }
}

/** Which time it was raised. */
function timeOf({ id, occurrences }: SeenAlert): string {
  return `${id} ${occurrences}`;
}

function inFull(alert: SeenAlert): string {
  const { occurrences, raisedAt, detail } = alert;
  return `${inWords(alert)}, time ${occurrences}, ${raisedAt} ${JSON.stringify(detail)}`;
}
