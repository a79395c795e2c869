import { expect } from 'chai';
import { DirectionWorld } from '../support/direction-world.js';
import { freePort, isListening, occupy } from '../support/free-port.js';
import { eventually } from '../support/poll.js';

describe('the three directions', function () {
  this.timeout(180_000);
  const web = { id: '', name: 'web1' };
  let world: DirectionWorld;
  let policyId: string;
  let port: number;

  before(async () => {
    port = await freePort();
    world = await DirectionWorld.start();
    const settings = { heartbeatIntervalSeconds: 5, heartbeatsMissedAllowed: 1, listenerPort: port };
    policyId = await world.newPolicy('Servers', { ...settings, communicationDirection: 'agentInitiated' });
    web.id = await world.enroll(policyId, web.name);
    world.run(web.name);
  });

  after(() => world?.end());

  it('agentInitiated: the agent dials, and nothing listens', async () => {
    await world.inForce('agentInitiated', web);
    expect((await world.heardAgain(web.id)).carrierInUse).to.equal('https');
    expect(await isListening(port)).to.equal(false);
  });

  it('switches to managerInitiated: the manager dials, and only then the agent stops', async () => {
    await world.edit(policyId, { communicationDirection: 'managerInitiated' });
    await world.inForce('managerInitiated', web);
    expect(await isListening(port)).to.equal(true);
    const shown = await world.heardAgain(web.id);
    expect(shown).to.deep.include({ status: 'online', carrierInUse: 'listener', listenerReachable: true });
    expect(shown.lastDial?.result).to.equal('answered');
  });

  it('switches to bidirectional: an edit reaches the agent at once, not at its next heartbeat', async () => {
    await world.edit(policyId, { communicationDirection: 'bidirectional' });
    await world.inForce('bidirectional', web);
    await world.edit(policyId, { heartbeatIntervalSeconds: 3600 });
    await world.applied(web.id, 'an hour is applied');
    await world.edit(policyId, { heartbeatIntervalSeconds: 3599 });
    await world.applied(web.id, 'an edit does not wait for the hour');
    await world.edit(policyId, { heartbeatIntervalSeconds: 5 });
    await world.applied(web.id, 'five seconds are applied');
  });

  it('switches back to agentInitiated, and the listener closes two intervals later', async () => {
    await world.edit(policyId, { communicationDirection: 'agentInitiated' });
    await world.inForce('agentInitiated', web);
    await eventually('nothing listens any more', async () => !(await isListening(port)));
    await world.heardAgain(web.id);
    expect(await world.alertsOf(web.id)).to.deep.equal([]);
  });

  it('enrolled under managerInitiated an agent never dials, and is offline when it is killed', async () => {
    const policy = await world.newPolicy('Dialled', {
      heartbeatIntervalSeconds: 5,
      heartbeatsMissedAllowed: 1,
      heartbeatGraceSeconds: 2,
      listenerPort: await freePort(),
      communicationDirection: 'managerInitiated',
    });
    const id = await world.enroll(policy, 'dialled');
    const agent = world.run('dialled');
    await world.inForce('managerInitiated', { id, name: 'dialled' });
    expect((await world.heardAgain(id)).carrierInUse).to.equal('listener');
    await agent.kill('SIGKILL');
    await eventually('its alert is raised', () => world.hasAlert(id, 'computer-offline', 'raised'));
    expect((await world.computer(id)).lastDial?.result).to.equal('refused');
    const port = await freePort();
    world.run('dialled', ['--listener-port', String(port)]);
    await eventually('its alert is resolved', () => world.hasAlert(id, 'computer-offline', 'resolved'));
    await eventually('it is dialled at the port it told', async () => {
      const { carrierInUse, listener } = await world.heardAgain(id);
      return carrierInUse === 'listener' && listener?.port === port;
    });
  });

  it('started again under managerInitiated while its port is taken, an agent says so at once', async () => {
    const taken = await freePort();
    const policy = await world.newPolicy('Taken', { listenerPort: taken, communicationDirection: 'managerInitiated' });
    const id = await world.enroll(policy, 'taken');
    const agent = world.run('taken');
    await world.inForce('managerInitiated', { id, name: 'taken' });
    await agent.kill('SIGTERM');
    const other = await occupy(taken);
    try {
      world.run('taken');
      const told = await world.heardAgain(id);
      expect(told.listener).to.deep.include({ state: 'failed', port: null });
      expect(told).to.deep.include({ carrierInUse: 'https', listenerReachable: false });
    } finally {
      await new Promise((resolve) => other.close(resolve));
    }
    await eventually('it listens', () => isListening(taken));
    // An edit of its settings is a reason to dial it before its heartbeat is due.
    await world.edit(policy, { heartbeatIntervalSeconds: 5 });
    expect((await world.heardAgain(id)).carrierInUse).to.equal('listener');
  });

  it('three agents of one host: two cannot bind the port and go on dialling', async () => {
    const settings = { heartbeatIntervalSeconds: 5, listenerPort: await freePort() };
    const policy = await world.newPolicy('Shared host', settings);
    const names = ['one', 'two', 'three'];
    const ids = await Promise.all(names.map((name) => world.enroll(policy, name)));
    for (const name of names) world.run(name);
    await Promise.all(ids.map((id) => world.heardAgain(id)));
    const parts: string[] = [];
    for (const shown of await Promise.all(ids.map((id) => world.heardAgain(id)))) {
      const part = shown.components.find(({ name }) => name === 'listener');
      expect(shown.status).to.equal('online');
      if (part?.state === 'offline') expect(shown.listenerReachable).to.equal(false);
      parts.push(part?.state ?? 'absent');
      expect(await world.alertsOf(shown.id)).to.deep.equal([]);
    }
    expect(parts.sort()).to.deep.equal(['offline', 'offline', 'online']);
  });
});
