import { expect } from 'chai';
import { HOOK_ENV, openAlertHook, type AlertHook } from '../support/alert-hook.js';
import { listAll } from '../support/event-ledger.js';
import { untilOnline, type SeenAlert } from '../support/fleet-in-process.js';
import { FleetWorld } from '../support/fleet-world.js';
import { makeDataDir, removeDataDir, type ManagerProcess } from '../support/manager-process.js';
import { eventually } from '../support/poll.js';

const INTERVAL_SECONDS = 5;
const SETTINGS = { heartbeatIntervalSeconds: INTERVAL_SECONDS, heartbeatsMissedAllowed: 0, heartbeatGraceSeconds: 1 };

interface HeldAlert extends SeenAlert {
  readonly heldBy: string | null;
  readonly told: string;
}

/** Two agents fall silent together, one of them in a maintenance window. */
describe('the road of a notification from an agent that dies to who is on call', function () {
  this.timeout(60_000);
  const root = makeDataDir();
  let world: FleetWorld;
  let manager: ManagerProcess;
  let hook: AlertHook | undefined;

  before(async () => {
    world = await FleetWorld.start({ root, settings: SETTINGS, env: HOOK_ENV });
    manager = world.manager;
    hook = await openAlertHook(manager, { folder: root });
    for (const name of ['web1', 'db1']) await world.join(name, 1);
    await untilOnline(manager, 2);
  });
  after(async () => {
    await world?.end();
    await hook?.close();
    removeDataDir(root);
  });

  const agents = () => world.fleets.flatMap((fleet) => fleet.agents);
  const alertOf = async (name: string) =>
    (await listAll<HeldAlert>(manager.api, '/alerts?type=computer-offline')).find(({ computerName }) =>
      computerName?.startsWith(name),
    );
  const told = () => hook?.told().map(({ kind, type, computerName }) => `${kind} ${type} ${computerName}`);
  const raised = 'alert.raised computer-offline web1-00001';
  const resolved = 'alert.resolved computer-offline web1-00001';
  let windowId = '';

  it('tells that it is gone after the hold, and nothing of one in maintenance', async () => {
    const asked = {
      computerId: agents()[1]?.computerId,
      endsAt: new Date(Date.now() + 3_600_000).toISOString(),
      comment: 'new disks',
    };
    windowId = (await manager.api.post<{ id: string }>('/maintenance-windows', asked)).id;
    await Promise.all(agents().map((agent) => agent.kill()));
    await eventually('somebody is told', () => told()?.length === 1);
    const [web1, db1] = [await alertOf('web1'), await alertOf('db1')];
    expect(told()).to.deep.equal([raised]);
    expect(Date.now() - Date.parse(web1?.raisedAt ?? '')).to.be.at.least(INTERVAL_SECONDS * 1000);
    expect(web1).to.include({ state: 'raised', told: 'open', heldBy: null });
    expect(db1).to.include({ state: 'raised', told: 'nothing', heldBy: 'maintenance' });
  });

  it('tells that it is back, and nothing of the other, not even when its maintenance ends', async () => {
    await Promise.all(agents().map((agent) => agent.start()));
    await eventually('both are back', async () =>
      (await Promise.all(['web1', 'db1'].map(alertOf))).every((alert) => alert?.state === 'resolved'),
    );
    expect((await manager.api.request('DELETE', `/maintenance-windows/${windowId}`)).status).to.equal(204);
    await eventually('the end is told', () => told()?.length === 2);
    await eventually('nothing is to be told of the other', async () => (await alertOf('db1'))?.heldBy === null);
    expect(await alertOf('db1')).to.include({ told: 'nothing' });
    expect(told()).to.deep.equal([raised, resolved]);
  });
});
