import { expect } from 'chai';
import { DirectionWorld } from '../support/direction-world.js';
import { freePort } from '../support/free-port.js';
import { eventually } from '../support/poll.js';

describe('an agent that only the manager dials', function () {
  this.timeout(120_000);
  let world: DirectionWorld;

  before(async () => {
    world = await DirectionWorld.start();
  });
  after(() => world?.end());

  /** Enrolled, and dialled by the manager alone. */
  const dialled = async (name: string) => {
    const policyId = await world.newPolicy(`Dialled ${name}`, {
      heartbeatIntervalSeconds: 3600,
      listenerPort: await freePort(),
      communicationDirection: 'managerInitiated',
    });
    const id = await world.enroll(policyId, name);
    const agent = world.run(name);
    await world.inForce('managerInitiated', { id, name });
    expect((await world.computer(id)).carrierInUse).to.equal('listener');
    return { id, agent };
  };
  const told = (name: string, code: string) =>
    eventually(`the agent shows ${code}`, async () => {
      const { state, lastError } = await world.statusOf(name);
      return state === 'refused' && lastError?.code === code;
    });

  it('is told that its computer was revoked, though its next heartbeat is an hour away', async () => {
    const { id } = await dialled('web1');
    await world.manager.api.post(`/computers/${id}/revoke`, {});
    await told('web1', 'computer-revoked');
    expect((await world.computer(id)).status).to.equal('revoked');
  });

  it('is told that its computer was removed, also when neither ran at that time', async () => {
    const { id, agent } = await dialled('web2');
    await agent.kill('SIGKILL');
    await world.manager.api.request('DELETE', `/computers/${id}`);
    await world.restartManager();
    world.run('web2');
    await told('web2', 'computer-removed');
    expect((await world.manager.api.request('GET', `/computers/${id}`)).status).to.equal(404);
  });
});
