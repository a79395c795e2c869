import { expect } from 'chai';
import { setTimeout as delay } from 'node:timers/promises';
import { ALERT_TYPES } from '../../policies/status-model.js';
import type { Fleet } from '../../scripts/fleet.js';
import { HOOK_ENV, openAlertHook, type AlertHook } from '../support/alert-hook.js';
import { listAll } from '../support/event-ledger.js';
import { untilOnline } from '../support/fleet-in-process.js';
import { FleetWorld } from '../support/fleet-world.js';
import { makeDataDir, removeDataDir, type ManagerProcess } from '../support/manager-process.js';
import { eventually } from '../support/poll.js';
import { startRelay, type Relay } from '../support/relay.js';

const SITE = Number(process.env['WARDBEAT_TEST_SITE'] ?? 100);
const OTHERS = 2 * SITE;
const CUT_SECONDS = Number(process.env['WARDBEAT_TEST_CUT_SECONDS'] ?? 60);
const INTERVAL_SECONDS = 10;
const SETTINGS = {
  heartbeatIntervalSeconds: INTERVAL_SECONDS,
  heartbeatsMissedAllowed: 1,
  heartbeatGraceSeconds: 5,
  communicationDirection: 'agentInitiated',
};
const ALL_CLEAR_MS = 2 * INTERVAL_SECONDS * 1000;
/** Longer than whatever could hold a late notification back: the hold, the allowance, a look at what is not settled. */
const QUIET_MS = 30_000;
const LISTENERS_FROM = 23_000;
/** All but what many agents in one process on a busy machine raise: they read their counters too slowly. */
const TYPES = Object.keys(ALERT_TYPES).filter((type) => type !== 'component-offline');
const SUBNET = 'subnet/127.0.7.0/24';

interface SeenAlert {
  readonly id: string;
  readonly type: string;
  readonly state: string;
  readonly computerName: string | null;
  readonly incidentId: string | null;
  readonly told: string;
  readonly heldBy: string | null;
  readonly detail: Readonly<Record<string, unknown>>;
}

describe(`a site of ${SITE} of ${SITE + OTHERS} agents that is cut off for ${CUT_SECONDS} s (R17)`, function () {
  this.timeout(600_000);
  const root = makeDataDir();
  let world: FleetWorld;
  let manager: ManagerProcess;
  let relay: Relay;
  let hook: AlertHook;
  let site: Fleet;

  before(async () => {
    world = await FleetWorld.start({ root, settings: SETTINGS, env: HOOK_ENV });
    manager = world.manager;
    hook = await openAlertHook(manager, { folder: root, route: { types: TYPES } });
    relay = await startRelay({ port: Number(new URL(manager.agentUrl).port), from: '127.0.7.1' });
    site = await world.join('site', SITE, { agentUrl: `https://127.0.0.1:${relay.port}` });
    await world.joinAllDirections(OTHERS, LISTENERS_FROM);
    await untilOnline(manager, SITE + OTHERS);
  });
  after(async () => {
    relay?.release();
    await world?.end();
    await relay?.close();
    await hook?.close();
    removeDataDir(root);
  });

  const alerts = async () =>
    (await listAll<SeenAlert>(manager.api, '/alerts')).filter(({ type }) => TYPES.includes(type));
  const ofType = async (type: string) => (await alerts()).filter((alert) => alert.type === type);
  const told = () => hook.told().map(({ kind, type, subject }) => `${kind} ${type} ${subject}`);
  const begun = `alert.raised mass-outage ${SUBNET}`;
  const over = `alert.resolved mass-outage ${SUBNET}`;

  it('is one incident that names its subnet and holds every alert, and one message', async () => {
    const cutAt = performance.now();
    relay.hold();
    const children = () => ofType('computer-offline');
    await eventually('all alerts are held', async () => isHeldBySomething(await children()), 90_000);
    const heldMs = Math.round(performance.now() - cutAt);
    await delay(Math.max(0, CUT_SECONDS * 1000 - heldMs));
    const outages = await ofType('mass-outage');
    expect(outages.map(({ state, detail: { factor, value } }) => `${state} ${factor}/${value}`)).to.deep.equal([
      `raised ${SUBNET}`,
    ]);
    expect(outages[0]?.detail).to.include({ of: SITE, silent: SITE, children: SITE, peak: SITE });
    const names = (await children()).map(({ computerName }) => computerName);
    expect(names).to.have.members(site.agents.map(({ name }) => name));
    const standing = (await children()).map(({ state, told: known, heldBy }) => `${state} ${known} ${heldBy}`);
    expect([...new Set(standing)]).to.deep.equal(['raised nothing incident']);
    expect(new Set((await children()).map(({ incidentId }) => incidentId))).to.deep.equal(new Set([outages[0]?.id]));
    expect(told()).to.deep.equal([begun]);
    console.error(JSON.stringify({ heldMs }));
  });

  function isHeldBySomething(children: readonly SeenAlert[]): boolean {
    return children.length === SITE && children.every(({ incidentId }) => incidentId !== null);
  }

  it('is all clear two intervals after it is back, with one message more and no other', async () => {
    const healedAt = performance.now();
    relay.release();
    const isClear = async () => (await alerts()).every(({ state }) => state === 'resolved');
    await eventually('all is clear', isClear, 60_000);
    const clearMs = Math.round(performance.now() - healedAt);
    await eventually('its end is told', () => hook.messages() > 1);
    await delay(QUIET_MS);
    console.error(JSON.stringify({ clearMs, told: told() }));
    expect(told()).to.deep.equal([begun, over]);
    const untold = (await ofType('computer-offline')).filter(({ told: known }) => known !== 'nothing');
    expect(untold).to.deep.equal([]);
    expect((await alerts()).filter(({ type }) => !['computer-offline', 'mass-outage'].includes(type))).to.deep.equal(
      [],
    );
    expect(clearMs).to.be.at.most(ALL_CLEAR_MS);
    await untilOnline(manager, SITE + OTHERS);
  });
});
