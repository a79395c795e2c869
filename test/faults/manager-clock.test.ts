import { expect } from 'chai';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { createFakeWall, FAKETIME, findFaketime, type FakeWall } from '../support/faketime.js';
import { alertsOf, computersOf, inWords, untilOnline, type SeenAlert } from '../support/fleet-in-process.js';
import { FleetWorld } from '../support/fleet-world.js';
import { makeDataDir, removeDataDir } from '../support/manager-process.js';
import { eventually } from '../support/poll.js';
import { skipFor } from '../support/skip.js';

const AGENTS = Number(process.env['WARDBEAT_TEST_AGENTS'] ?? 50);
const HOUR = 3_600_000;
const DAY = 24 * HOUR;
const GAIN_SECONDS = Number(process.env['WARDBEAT_TEST_GAIN_SECONDS'] ?? 15);
/** Longer than an interval: every agent is heard at least once under every step. */
const STANDS_MS = 6500;
const LINES_PER_JUMP = 10;
const LISTENERS_FROM = 21_000;
const SETTINGS = { heartbeatIntervalSeconds: 5, heartbeatsMissedAllowed: 1, heartbeatGraceSeconds: 2 };

describe(`a manager whose wall clock is stepped under ${AGENTS} agents of all directions (R13)`, function () {
  this.timeout(180_000);
  const root = makeDataDir();
  const linesPerJump: number[] = [];
  let wall: FakeWall;
  let world: FleetWorld;
  let token: string;
  let offsetMs = 0;

  before(async function () {
    const library = findFaketime();
    if (library === undefined) skipFor(this, FAKETIME);
    wall = createFakeWall(library, join(root, 'clock'));
    world = await FleetWorld.start({ root, settings: SETTINGS, env: wall.env });
    token = await world.makeToken();
    await world.joinAllDirections(AGENTS, LISTENERS_FROM);
    await untilOnline(world.manager, AGENTS);
  });

  after(async () => {
    await world?.end();
    removeDataDir(root);
  });

  const shown = async () => (await alertsOf(world.manager)).map(inWords);
  const linesOf = (): number => world.manager.output().split('\n').length;

  async function step(toMs: number, meanwhile: () => Promise<unknown> = async () => undefined): Promise<void> {
    const before = linesOf();
    offsetMs = toMs;
    wall.stepTo(toMs);
    await Promise.all([delay(STANDS_MS), meanwhile()]);
    linesPerJump.push(linesOf() - before);
  }

  async function enroll(name: string): Promise<void> {
    await world.join(name, 1, { token });
    await eventually(`${name} is online`, async () =>
      (await computersOf(world.manager)).some(
        (computer) => computer.name.startsWith(name) && computer.status === 'online',
      ),
    );
  }

  let killed = '';
  let lateMs = Number.POSITIVE_INFINITY;

  /** How long after its deadline the alert is there; its deadline is shown by the clock that is in force. */
  async function killOne(): Promise<void> {
    const [victim] = world.fleets[0]?.agents ?? [];
    killed = victim?.name ?? '';
    await victim?.kill();
    const isIts = ({ type, computerName }: SeenAlert) => type === 'computer-offline' && computerName === killed;
    const alert = await eventually('its alert', async () => (await alertsOf(world.manager)).find(isIts), 25_000);
    lateMs = Date.now() + offsetMs - Date.parse(alert.raisedAt);
  }

  it('accuses nobody whose clock is right, and finds the one that was killed', async () => {
    await step(HOUR);
    await step(0);
    await step(-HOUR);
    await step(DAY, killOne);
    await step(0, () => enroll('after-ahead'));
    await step(DAY, () => enroll('ahead'));
    await step(0);
    await step(-DAY, () => enroll('behind'));
    await step(0);
    // A step of the wall clock is no time in which the manager was deaf, either.
    expect(await shown()).to.deep.equal([`computer-offline ${killed}`]);
    await untilOnline(world.manager, AGENTS - 1 + 3);
    console.error(JSON.stringify({ alertLateMs: lateMs, linesPerJump }));
  });

  it('was told of the true one within a second of its deadline', () => {
    expect(lateMs).to.be.within(-600, 1000);
  });

  it('says little about each step', () => {
    expect(linesPerJump.filter((lines) => lines > LINES_PER_JUMP)).to.deep.equal([]);
  });

  it(`bears a clock that gains a second per second for ${GAIN_SECONDS} s`, async () => {
    const before = linesOf();
    wall.gain(1);
    await delay(GAIN_SECONDS * 1000);
    wall.stepTo(0);
    await delay(STANDS_MS);
    expect(linesOf() - before).to.be.at.most(2 * LINES_PER_JUMP);
    expect(await shown()).to.deep.equal([`computer-offline ${killed}`]);
    await untilOnline(world.manager, AGENTS - 1 + 3);
  });
});
