import { expect } from 'chai';
import { DirectionWorld, type DirectedComputer } from '../support/direction-world.js';
import { freePort } from '../support/free-port.js';
import { eventually } from '../support/poll.js';

/** An hour: what happens sooner came over the channel. */
const HOUR = 3600;

describe('the held channel of a real agent', function () {
  this.timeout(240_000);
  const web = { id: '', name: 'web1' };
  let world: DirectionWorld;
  let env: Record<string, string>;
  let policyId: string;

  before(async () => {
    env = { WARDBEAT_AGENT_PORT: String(await freePort()) };
    world = await DirectionWorld.start(env);
    policyId = await world.newPolicy('Servers', {
      heartbeatIntervalSeconds: HOUR,
      communicationDirection: 'agentInitiated',
    });
    web.id = await world.enroll(policyId, web.name);
    world.run(web.name);
  });

  after(() => world?.end());

  const channelIs = (state: string): Promise<DirectedComputer> =>
    eventually(
      `the channel is ${state}`,
      async () => {
        const shown = await world.computer(web.id);
        return shown.channel.state === state ? shown : undefined;
      },
      60_000,
    );
  const statuses = async () => {
    const { items } = await world.manager.api.get<{ items: { status: string }[] }>(
      `/computers/${web.id}/status-history`,
    );
    return items.map(({ status }) => status);
  };

  it('is open from the first heartbeat on, and shown at both ends', async () => {
    const shown = await channelIs('open');
    expect(shown).to.deep.include({ status: 'online', carrierInUse: 'channel' });
    expect(shown.channel.reason).to.equal(null);
    expect(Date.parse(shown.channel.since ?? '')).to.be.closeTo(Date.now(), 60_000);
    const own = await eventually('the agent is online', async () => {
      const status = await world.statusOf(web.name);
      return status.state === 'online' ? status : undefined;
    });
    expect(own).to.deep.include({ connectionMode: 'held' });
    expect(own.channel).to.include({ state: 'open', detail: null });
  });

  it('brings edits of its policy, and of the computer alone, though its next heartbeat is an hour away', async () => {
    await world.applied(web.id, 'the first settings are applied');
    for (const seconds of [HOUR - 1, HOUR - 2]) {
      const begun = performance.now();
      await world.edit(policyId, { heartbeatIntervalSeconds: seconds });
      await world.applied(web.id, 'an edit of the policy is applied');
      expect(performance.now() - begun).to.be.lessThan(20_000);
    }
    await world.manager.api.patch(`/computers/${web.id}/settings`, { heartbeatIntervalSeconds: HOUR - 3 });
    await world.applied(web.id, 'an edit of the computer is applied');
    expect((await world.computer(web.id)).channel.state).to.equal('open');
  });

  it('comes back after the manager was killed, which nobody takes for the computer', async () => {
    world.manager.kill('SIGKILL');
    await world.manager.ended;
    await world.replaceManager(env);
    const shown = await channelIs('open');
    expect(shown).to.deep.include({ status: 'online', carrierInUse: 'channel' });
    expect(new Set(await statuses())).to.deep.equal(new Set(['online']));
    expect(await world.alertsOf(web.id)).to.deep.equal([]);
  });

  it('is closed by a manager that stops, and opened again when that one said', async () => {
    await world.manager.stop();
    await world.replaceManager(env);
    const between = await world.computer(web.id);
    expect(between.channel.state === 'open' || between.channel.reason === 'manager-restarts').to.equal(true);
    await channelIs('open');
    expect(new Set(await statuses())).to.deep.equal(new Set(['online']));
  });

  it('is closed where the policy wants a connection for each heartbeat', async () => {
    await world.edit(policyId, { connectionMode: 'perHeartbeat', heartbeatIntervalSeconds: 5 });
    await world.manager.api.patch(`/computers/${web.id}/settings`, { heartbeatIntervalSeconds: null });
    const shown = await channelIs('closed');
    expect(shown.channel.reason).to.equal('closed-by-agent');
    expect((await world.heardAgain(web.id)).carrierInUse).to.equal('https');
    expect((await world.statusOf(web.name)).channel.state).to.equal('off');
    await world.edit(policyId, { connectionMode: 'held', heartbeatIntervalSeconds: HOUR });
    await channelIs('open');
    await world.applied(web.id, 'an hour is applied');
  });

  it('is cut when the computer is revoked, and its agent learns why at once', async () => {
    const begun = performance.now();
    await world.manager.api.post(`/computers/${web.id}/revoke`, {});
    const shown = await channelIs('closed');
    expect(shown.channel.reason).to.equal('computer-revoked');
    await eventually('the agent knows', async () => {
      const { state, lastError } = await world.statusOf(web.name);
      return state === 'refused' && lastError?.code === 'computer-revoked';
    });
    expect(performance.now() - begun).to.be.lessThan(30_000);
  });
});
