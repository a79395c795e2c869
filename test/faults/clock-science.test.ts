import { expect } from 'chai';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { enrollAgent } from '../support/agent-cli.js';
import { spawnAgent, type AgentProcess } from '../support/agent-process.js';
import { createFakeWall, FAKETIME, findFaketime, type FakeWall } from '../support/faketime.js';
import { alertsOf, computersOf, makeToken, rootPolicyOf, untilOnline } from '../support/fleet-in-process.js';
import { freePort } from '../support/free-port.js';
import {
  ADMIN_PASSWORD,
  makeDataDir,
  removeDataDir,
  startManager,
  type ManagerProcess,
} from '../support/manager-process.js';
import { eventually } from '../support/poll.js';
import { skipFor } from '../support/skip.js';

const HOUR_MS = 3_600_000;
const STEP_MS = 90_000;
const DRIFT_PPM = 1000;
const SETTINGS = { heartbeatIntervalSeconds: 5, heartbeatsMissedAllowed: 5 };
const UNTIL_SEEN_MS = 60_000;
/** Sixty milliseconds come together in a minute: more than the errors of two exchanges. */
const UNTIL_RATE_MS = 300_000;
const TWO_BEATS_MS = 12_500;

/** One agent per carrier, each with a clock of its own. */
const AGENTS = [
  { name: 'stepped', settings: { connectionMode: 'held', communicationDirection: 'agentInitiated' } },
  { name: 'zoned', settings: { communicationDirection: 'managerInitiated' } },
  { name: 'drifting', settings: { connectionMode: 'perHeartbeat', communicationDirection: 'agentInitiated' } },
  { name: 'right', settings: {} },
] as const;
type Name = (typeof AGENTS)[number]['name'];

interface ClockPage {
  readonly offsetMs: number | null;
  readonly errorBoundMs: number;
  readonly roundTripMs: number;
  readonly drift: { readonly ppm: number; readonly boundPpm: number; readonly isSteady: boolean } | null;
  readonly classification: string;
  readonly means: string;
  readonly evidence: readonly { readonly code: string }[];
  readonly samples: readonly { readonly offsetMs: number; readonly errorBoundMs: number }[];
  readonly steps: readonly { readonly kind: string; readonly source: string; readonly byMs: number }[];
}

describe('clocks of agents over all carriers: a step, a wrong zone, a wrong rate', function () {
  this.timeout(UNTIL_RATE_MS + 180_000);
  const root = makeDataDir();
  const walls = new Map<Name | 'manager', FakeWall>();
  const agents: AgentProcess[] = [];
  const ids = new Map<Name, string>();
  let manager: ManagerProcess;

  before(async function () {
    const library = findFaketime();
    if (library === undefined) skipFor(this, FAKETIME);
    for (const name of ['manager', ...AGENTS.map((agent) => agent.name)] as const)
      walls.set(name, createFakeWall(library, join(root, `clock-${name}`)));
    manager = await startManager({ dataDir: join(root, 'manager'), env: wallOf('manager').env });
    await manager.api.signIn('admin', ADMIN_PASSWORD);
    const parentId = await rootPolicyOf(manager);
    wallOf('zoned').stepTo(HOUR_MS);
    for (const { name, settings } of AGENTS) await joinOne(name, { parentId, settings });
    await untilOnline(manager, AGENTS.length);
    for (const { id, name } of await computersOf(manager)) ids.set(name as Name, id);
  });

  after(async () => {
    await Promise.all(agents.map((agent) => agent.kill('SIGTERM')));
    await manager?.stop();
    removeDataDir(root);
  });

  const wallOf = (name: Name | 'manager'): FakeWall => {
    const wall = walls.get(name);
    if (!wall) throw new Error(`No clock of ${name}`);
    return wall;
  };

  async function joinOne(name: Name, { parentId, settings }: { parentId: string; settings: object }): Promise<void> {
    const own = { ...SETTINGS, ...settings, listenerPort: await freePort() };
    const { id } = await manager.api.post<{ id: string }>('/policies', { name, parentId, settings: own });
    const dir = join(root, name);
    mkdirSync(dir);
    await enrollAgent(dir, { manager: manager.agentUrl, token: await makeToken(manager, id), name });
    agents.push(spawnAgent(['run', '--dir', dir], { env: wallOf(name).env }));
  }

  const pageOf = (name: Name): Promise<ClockPage> => manager.api.get<ClockPage>(`/computers/${ids.get(name)}/clock`);
  const untilClass = (name: Name, classification: string, withinMs = UNTIL_SEEN_MS): Promise<ClockPage> =>
    eventually(
      `${name} is ${classification}`,
      async () => {
        const page = await pageOf(name);
        return page.classification === classification ? page : undefined;
      },
      withinMs,
    );
  const shown = async () =>
    (await alertsOf(manager)).map(({ computerName, type, state }) => `${computerName} ${type} ${state}`).sort();

  it('knows an hour for a time zone, over the dials of the manager', async () => {
    const page = await untilClass('zoned', 'time-zone-or-dst');
    expect(Math.abs((page.offsetMs ?? 0) - HOUR_MS)).to.be.at.most(page.errorBoundMs);
    expect(page.evidence.map(({ code }) => code)).to.include('whole-hours');
    await eventually('its drift is told', async () => (await shown()).includes('zoned clock-drift raised'));
    const drift = (await alertsOf(manager)).find(({ type }) => type === 'clock-drift');
    expect(drift?.detail).to.include({ classification: 'time-zone-or-dst' });
    expect(drift?.detail['means']).to.contain('a time zone or DST setting');
  });

  it('finds nothing wrong with those that are right, and holds them within their bounds', async () => {
    for (const name of ['right', 'stepped', 'drifting'] as const) {
      const page = await untilClass(name, 'in-order');
      for (const { offsetMs, errorBoundMs } of page.samples) expect(Math.abs(offsetMs)).to.be.at.most(errorBoundMs);
    }
    expect(await shown()).to.deep.equal(['zoned clock-drift raised']);
  });

  it('knows a step, over the held channel', async () => {
    wallOf('stepped').stepTo(STEP_MS);
    const page = await untilClass('stepped', 'step');
    expect(Math.abs((page.offsetMs ?? 0) - STEP_MS)).to.be.at.most(page.errorBoundMs);
    const told = await eventually('the agent told it', async () =>
      (await pageOf('stepped')).steps.find(({ source }) => source === 'agent'),
    );
    expect(told.kind).to.equal('step');
    expect(Math.abs(told.byMs - STEP_MS)).to.be.at.most(1000);
    await eventually('one alert', async () => (await shown()).includes('stepped clock-changed raised'));
  });

  it('knows a wrong rate, over connections of one heartbeat', async () => {
    wallOf('drifting').gain(DRIFT_PPM / 1e6);
    const begun = performance.now();
    const page = await untilClass('drifting', 'steady-drift', UNTIL_RATE_MS);
    const ppm = page.drift?.ppm ?? 0;
    console.error(JSON.stringify({ rateKnownAfterMs: Math.round(performance.now() - begun), drift: page.drift }));
    expect(page.drift?.isSteady).to.equal(true);
    expect(Math.abs(ppm - DRIFT_PPM)).to.be.at.most((page.drift?.boundPpm ?? 0) + 1);
    expect(ppm).to.be.above(500);
  });

  it('accuses nobody for a step of the manager, and says whose it is', async () => {
    const before = await shown();
    for (const toMs of [2 * HOUR_MS, -2 * HOUR_MS]) {
      wallOf('manager').stepTo(toMs);
      const page = await untilClass('right', 'manager-step');
      expect(page.evidence.map(({ code }) => code)).to.include('manager-stepped');
      await delay(TWO_BEATS_MS);
      expect(await shown()).to.deep.equal(before);
    }
    wallOf('manager').stepTo(0);
    await untilClass('right', 'in-order');
    await delay(TWO_BEATS_MS);
    expect(await shown()).to.deep.equal(before);
  });
});
