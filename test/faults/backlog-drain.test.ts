import { expect } from 'chai';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { DurableStore } from '../../agent/spool/durable-store.js';
import { Spool } from '../../agent/spool/spool.js';
import { createSystemClock } from '../../lib/clock.js';
import { createSystemRandom } from '../../lib/random.js';
import { enrollAgent, startAgent, type RunningAgent } from '../support/agent-cli.js';
import { faultsOfEvents, faultsOfOrder, listAll, type ListedEvent } from '../support/event-ledger.js';
import { startFleetDrill, type FleetDrill } from '../support/fleet-drill.js';
import {
  keptPorts,
  makeDataDir,
  MANY_AGENTS,
  removeDataDir,
  startManager,
  type ManagerProcess,
} from '../support/manager-process.js';
import { eventually } from '../support/poll.js';

const BACKLOG = Number(process.env['WARDBEAT_TEST_BACKLOG'] ?? 20_000);
const AGENTS = Number(process.env['WARDBEAT_TEST_AGENTS'] ?? 20);
const AWAY_MINUTES = 72 * 60;
const MINUTE_MS = 60_000;
const INTERVAL_SECONDS = 5;
/** The target is 10 minutes for 100,000; what goes at once and the pace of the rest make the bound. */
const WITHIN_MS = Math.max(60_000, (BACKLOG / 100_000) * 600_000);
const MOST_DELAY_MS = 1000;
const MOST_SHARE = 0.2;
/** What of one computer goes at once, before it is paced: `PEER_LIMITS.eventBurst`. */
const BURST = 5000;
/** So many bring a burst each at the same time: what the manager takes then is what it can take. */
const CROWD = 4;
const TICKS_PER_SECOND = 100;

interface Heartbeat {
  readonly receivedAt: string;
  readonly latenessMs: number | null;
}

describe(`an agent that was away for 72 hours and brings ${BACKLOG} events, beside ${AGENTS} that live`, function () {
  this.timeout(1_800_000);
  const root = makeDataDir();
  const system = createSystemClock();
  let manager: ManagerProcess;
  let fleet: FleetDrill;
  const agents: RunningAgent[] = [];
  let away: Away;
  let crowd: readonly Away[];

  before(async () => {
    manager = await startManager({ dataDir: join(root, 'manager'), env: { ...(await keptPorts()), ...MANY_AGENTS } });
    const settings = { heartbeatIntervalSeconds: INTERVAL_SECONDS };
    fleet = await startFleetDrill(manager, { root, agents: AGENTS, settings, eventsPerBeat: 1 });
    const { items } = await manager.api.get<{ items: { id: string }[] }>('/policies');
    const request = { policyId: items[0]?.id, uses: CROWD + 1, expiresInSeconds: 3600 };
    const { token } = await manager.api.post<{ token: string }>('/enrollment-tokens', request);
    const enroll = async (name: string, events: number): Promise<Away> => {
      const directory = join(root, name);
      const computerId = await enrollAgent(directory, { manager: manager.agentUrl, token, name });
      await fill(directory, events);
      return { directory, computerId };
    };
    away = await enroll('away', BACKLOG);
    crowd = await Promise.all(Array.from({ length: CROWD }, (_, index) => enroll(`crowd${index}`, BURST)));
    await fleet.allOnline(manager);
  });
  after(async () => {
    for (const agent of agents) await agent.kill('SIGKILL');
    fleet?.end();
    await manager?.stop();
    removeDataDir(root);
  });

  /** As it gathered: so many in each minute of the 72 hours that are over. */
  async function fill(directory: string, events: number): Promise<void> {
    const times = { wall: system.wall() - AWAY_MINUTES * MINUTE_MS };
    const clock = { ...system, wall: () => times.wall };
    const { store } = await DurableStore.open(join(directory, 'store'), system);
    const spool = await Spool.open({ store, clock, random: createSystemRandom(), maxMegabytes: 4096 });
    const event = {
      kind: 'log',
      severity: 'info',
      message: 'a line of a log as they are, of about this length',
    } as const;
    for (let minute = 0, done = 0; minute < AWAY_MINUTES; minute += 1, times.wall += MINUTE_MS) {
      const upTo = Math.round(((minute + 1) * events) / AWAY_MINUTES);
      if (upTo > done) await spool.append('log', event, upTo - done);
      done = upTo;
    }
    await store.close();
  }

  const delays = async (from: number, until: number): Promise<number[]> => {
    const computers = await listAll<{ id: string; name: string }>(fleet.apiOf(manager), '/computers');
    const live = computers.filter(({ name }) => name.startsWith('fleet-'));
    const beats = await Promise.all(
      live.map(({ id }) => listAll<Heartbeat>(fleet.apiOf(manager), `/computers/${id}/heartbeats`)),
    );
    return beats
      .flat()
      .filter(({ receivedAt }) => Date.parse(receivedAt) >= from && Date.parse(receivedAt) <= until)
      .flatMap(({ latenessMs }) => (latenessMs === null ? [] : [latenessMs]));
  };

  /** The logs of agents that start now, once none of them waits for anything. */
  async function drained(them: readonly Away[], meanwhile: () => Promise<void> = async () => undefined) {
    agents.push(...them.map(({ directory }) => startAgent(directory)));
    const isDrained = async ({ computerId }: Away): Promise<boolean> => {
      const { spool } = await fleet.apiOf(manager).get<{ spool: Shown | null }>(`/computers/${computerId}`);
      return spool?.lanes.log.waiting === 0;
    };
    await eventually(
      'all of it has arrived',
      async () => {
        await meanwhile();
        return (await Promise.all(them.map(isDrained))).every(Boolean);
      },
      WITHIN_MS,
    );
    const lists = them.map(({ computerId }) =>
      listAll<ListedEvent & { receivedAt: string }>(fleet.apiOf(manager), `/computers/${computerId}/events`),
    );
    return (await Promise.all(lists)).flat();
  }

  it('drains it in order and in time, at a fifth of what the manager can take, and delays nobody', async () => {
    const burst = instantsOf(await drained(crowd));
    expect(burst).to.have.length(CROWD * BURST);
    const capacityPerSecond = (burst.length * 1000) / Math.max(1, burst.at(-1)! - burst[0]!);
    const quietFrom = system.wall();
    await eventually('a quiet time', () => system.wall() > quietFrom + 10_000, 30_000);
    const begun = { at: system.wall(), cpu: cpuSeconds(manager.pid) };
    const quietDelays = await delays(quietFrom, begun.at);
    expect(quietDelays, 'heartbeats of the others').to.have.length.greaterThan(0);
    const worst: number[] = [];
    const events = await drained([away], async () => {
      worst.push(Math.max(0, ...(await delays(begun.at, system.wall()))));
    });
    const logs = instantsOf(events);
    const elapsedMs = logs.at(-1)! - begun.at;
    const pacedPerSecond = ((logs.length - BURST) * 1000) / Math.max(1, logs.at(-1)! - logs[BURST - 1]!);
    const cpu = cpuSeconds(manager.pid) - begun.cpu;
    const figures = {
      events: logs.length,
      seconds: elapsedMs / 1000,
      pacedPerSecond,
      capacityPerSecond,
      shareOfCapacity: pacedPerSecond / capacityPerSecond,
      managerCores: cpu / ((system.wall() - begun.at) / 1000),
      worstDelayMs: Math.max(...worst),
      worstDelayBeforeMs: Math.max(...quietDelays),
    };
    console.error(JSON.stringify(figures));
    expect(logs).to.have.length(BACKLOG);
    expect(faultsOfEvents(events)).to.deep.equal([]);
    expect(faultsOfOrder(events)).to.deep.equal([]);
    expect(elapsedMs).to.be.at.most(WITHIN_MS);
    expect(figures.worstDelayMs).to.be.at.most(Math.max(0, figures.worstDelayBeforeMs) + MOST_DELAY_MS);
    expect(figures.shareOfCapacity).to.be.at.most(MOST_SHARE);
  });
});

/** An enrolled agent that does not run yet. */
interface Away {
  readonly directory: string;
  readonly computerId: string;
}

interface Shown {
  readonly lanes: Readonly<Record<string, { readonly waiting: number }>> & {
    readonly log: { readonly waiting: number };
  };
}

/** When each log was received, Unix milliseconds, ascending. */
function instantsOf(events: readonly (ListedEvent & { receivedAt: string })[]): number[] {
  return events
    .filter(({ lane }) => lane === 'log')
    .map(({ receivedAt }) => Date.parse(receivedAt))
    .toSorted((a, b) => a - b);
}

/** User and system time of a process: proc_pid_stat(5), fields 14 and 15. */
function cpuSeconds(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND;
}
