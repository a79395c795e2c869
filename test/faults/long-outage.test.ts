import { expect } from 'chai';
import { setTimeout as delay } from 'node:timers/promises';
import {
  accusationsOf,
  alertsOf,
  computersOf,
  degradationsBut,
  inWords,
  rootPolicyOf,
  untilOnline,
} from '../support/fleet-in-process.js';
import { FleetWorld } from '../support/fleet-world.js';
import { makeDataDir, removeDataDir } from '../support/manager-process.js';
import { eventually } from '../support/poll.js';

const AGENTS = Number(process.env['WARDBEAT_TEST_AGENTS'] ?? 200);
const INTERVAL_SECONDS = 5;
const GRACE_SECONDS = 5;
const SETTINGS = {
  heartbeatIntervalSeconds: INTERVAL_SECONDS,
  heartbeatsMissedAllowed: 1,
  heartbeatGraceSeconds: GRACE_SECONDS,
};
/** Longer than every deadline of these settings. */
const AWAY_MS = 30_000;
/** Design: the end of the manager's own silence, one retry of an agent (at most an interval), its attempt, the grace. */
const FOUND_AFTER_MS = (INTERVAL_SECONDS + 10 + GRACE_SECONDS) * 1000;
const LISTENERS_FROM = 22_000;

describe(`a manager that was away for longer than every deadline of ${AGENTS} agents`, function () {
  this.timeout(170_000);
  const root = makeDataDir();
  let world: FleetWorld;
  let stopped = '';

  before(async () => {
    world = await FleetWorld.start({ root, settings: SETTINGS });
    await world.joinAllDirections(AGENTS, LISTENERS_FROM);
    await untilOnline(world.manager, AGENTS);
  });

  after(async () => {
    await world?.end();
    removeDataDir(root);
  });

  it('accuses none of the living, and finds the one that was stopped meanwhile at its deadline', async () => {
    world.manager.kill('SIGKILL');
    await world.manager.ended;
    await delay(AWAY_MS / 2);
    const [victim] = world.fleets[0]?.agents ?? [];
    stopped = victim?.name ?? '';
    await victim?.kill();
    await delay(AWAY_MS / 2);
    await world.startAgain();
    const { manager } = world;
    const backAt = Date.now();
    const alerts = await eventually(
      'an alert',
      async () => atLeastOne(await accusationsOf(manager)),
      FOUND_AFTER_MS + 10_000,
    );
    const noticedAt = Date.now();
    expect(alerts.filter(({ computerName }) => computerName !== stopped)).to.deep.equal([]);
    const deadline = Date.parse(alerts[0]?.raisedAt ?? '');
    console.error(JSON.stringify({ foundAfterMs: deadline - backAt, noticedAfterMs: noticedAt - deadline }));
    // The port accepts a moment before the run file says so.
    expect(deadline - backAt).to.be.within(FOUND_AFTER_MS - 3000, FOUND_AFTER_MS + 500);
    expect(noticedAt - deadline).to.be.within(-100, 1000);
    // It was down for longer than it may be deaf.
    const expected = [`computer-offline ${stopped}`, 'manager-degraded'];
    expect((await alertsOf(manager)).map(inWords).toSorted()).to.deep.equal(expected);
    expect(await degradationsBut('process-down', manager)).to.deep.equal([]);
    await untilOnline(manager, AGENTS - 1);
  });

  it('accuses nobody while the interval goes from an hour to five seconds and back', async () => {
    const { manager } = world;
    const path = `/policies/${await rootPolicyOf(manager)}/settings`;
    await manager.api.patch(path, { heartbeatIntervalSeconds: 3600 });
    const applied = async () => (await computersOf(manager)).filter(({ settingsState }) => settingsState === 'applied');
    await eventually('all have the hour', async () => (await applied()).length >= AGENTS - 1, 30_000);
    await manager.api.patch(path, { heartbeatIntervalSeconds: 5 });
    await delay(FOUND_AFTER_MS);
    await manager.api.patch(path, { heartbeatIntervalSeconds: 3600 });
    await delay(2000);
    const accused = (await accusationsOf(manager)).filter(({ computerName }) => computerName !== stopped);
    expect(accused.map((alert) => JSON.stringify(alert))).to.deep.equal([]);
    expect(await degradationsBut('process-down', manager)).to.deep.equal([]);
    const late = (await computersOf(manager)).filter(({ status, name }) => status !== 'online' && name !== stopped);
    expect(late.map(({ name, status }) => `${name} ${status}`)).to.deep.equal([]);
  });
});

function atLeastOne<T>(items: readonly T[]): readonly T[] | undefined {
  return items.length > 0 ? items : undefined;
}
