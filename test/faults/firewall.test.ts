import { expect } from 'chai';

import type { RunningAgent } from '../support/agent-cli.js';
import { AGENT, SSH, useIsolationWorld, type IsolationWorld } from '../support/isolation-world.js';
import { eventually } from '../support/poll.js';

describe('the firewall of an agent, given time', function () {
  this.timeout(300_000);
  const { parts, inward, firewall, applied, kindsOf } = useIsolationWorld();
  let { host, world } = {} as IsolationWorld;
  const agents: RunningAgent[] = [];
  before(() => ({ host, world } = parts()));
  after(() => Promise.all(agents.map((agent) => agent.kill('SIGKILL'))));

  it('loads its tables again where another program took them away', async () => {
    const policy = await world.newPolicy('Dialling', { heartbeatIntervalSeconds: 5, firewallRules: [SSH] });
    const id = await world.enroll(policy, 'web1');
    agents.push(world.run('web1', [], host));
    await world.applied(id, 'the rules are committed');
    await applied(id);
    expect(await inward()).to.equal('silent');
    host.nft('flush', 'ruleset');
    expect(await inward()).to.equal('open');
    await eventually('the rule counts again', async () => (await inward()) !== 'open', 90_000);
    await eventually('it is told', async () => (await kindsOf(id)).includes('firewall-restored'));
    await agents.pop()?.kill('SIGKILL');
    host.nft('flush', 'ruleset');
  });

  it('reverts rules that leave its manager outside of its listener', async () => {
    const settings = { communicationDirection: 'managerInitiated', heartbeatIntervalSeconds: 5 };
    const policy = await world.newPolicy('Dialled', settings);
    const id = await world.enroll(policy, 'web2');
    await world.manager.api.patch(`/computers/${id}`, { address: AGENT });
    agents.push(world.run('web2', [], host));
    await world.inForce('managerInitiated', { id, name: 'web2' });
    const narrow = {
      ...SSH,
      action: 'forceAllow',
      priority: 4,
      frameType: 'IP',
      source: { ip: ['10.99.0.0/16'] },
      destination: { ports: [4118] },
    };
    await world.edit(policy, { firewallRules: [narrow] });
    await eventually('it is reverted', async () => (await world.computer(id)).settingsState === 'failed', 180_000);
    await world.heardAgain(id);
    expect((await firewall(id)).state).to.equal('pending');
    expect(await inward(80)).to.equal('open');
  });
});
