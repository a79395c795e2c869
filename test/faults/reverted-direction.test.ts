import { expect } from 'chai';
import { DirectionWorld } from '../support/direction-world.js';
import { alertsOf, inWords } from '../support/fleet-in-process.js';
import { freePort } from '../support/free-port.js';
import { eventually } from '../support/poll.js';

describe('a direction that cannot work', function () {
  this.timeout(300_000);
  let world: DirectionWorld;

  before(async () => void (world = await DirectionWorld.start()));
  after(() => world?.end());

  it('is reverted to the working way and told, and nobody is lost', async () => {
    const settings = { heartbeatIntervalSeconds: 5, heartbeatsMissedAllowed: 1, listenerPort: await freePort() };
    const policyId = await world.newPolicy('Servers', { ...settings, communicationDirection: 'agentInitiated' });
    const id = await world.enroll(policyId, 'web1');
    world.run('web1');
    await world.applied(id, 'it is heard');
    // An address that the administrator gave and that leads nowhere.
    await world.manager.api.patch(`/computers/${id}`, { address: '127.0.0.1:1' });
    await world.edit(policyId, { communicationDirection: 'managerInitiated' });
    const isFailed = async () => (await world.computer(id)).settingsState === 'failed';
    await eventually('the change is reverted', isFailed, 200_000);
    expect((await world.computer(id)).status).to.equal('online');
    expect((await world.statusOf('web1')).direction).to.equal('agentInitiated');
    const alert = (await world.alertsOf(id)).find(({ type }) => type === 'settings-reverted');
    expect(alert).to.include({ state: 'raised', reason: 'not-dialled' });
    await world.heardAgain(id);
    // With an address that works it does not wait for its hour.
    await world.manager.api.patch(`/computers/${id}`, { address: null });
    await world.inForce('managerInitiated', { id, name: 'web1' });
    await eventually('the alert resolves itself', () => world.hasAlert(id, 'settings-reverted', 'resolved'));
    expect((await alertsOf(world.manager)).map(inWords)).to.deep.equal(['settings-reverted web1']);
  });
});
