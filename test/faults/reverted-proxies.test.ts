import { expect } from 'chai';
import { DirectionWorld } from '../support/direction-world.js';
import { eventually } from '../support/poll.js';
import { RogueProxy } from '../support/rogue-proxy.js';

interface Shown {
  readonly status: string;
  readonly settingsState: string;
  readonly proxyInUse: string | null;
  readonly candidate: { readonly state: string; readonly reason: string | null; readonly detail: string | null } | null;
}

describe('a list of proxies that leads nowhere, by policy', function () {
  this.timeout(300_000);
  let world: DirectionWorld;
  let rogue: RogueProxy;

  before(async () => {
    world = await DirectionWorld.start();
    rogue = await RogueProxy.start();
  });

  after(async () => {
    await world?.end();
    await rogue?.close();
  });

  it('is reverted after two minutes and reported, and the agent is in contact all the while', async () => {
    rogue.mischief = 'says-nothing';
    const policy = await world.newPolicy('Walled', { heartbeatIntervalSeconds: 5, heartbeatsMissedAllowed: 1 });
    const id = await world.enroll(policy, 'web1');
    world.run('web1');
    const shown = () => world.computer(id) as unknown as Promise<Shown>;
    await world.applied(id, 'it is online');
    await world.edit(policy, { proxies: [{ url: rogue.url }], proxyFallbackDirect: false });
    await eventually('it is being proven', async () => (await shown()).candidate?.state === 'proving');
    const seen = new Set<string>();
    await eventually(
      'it is reverted',
      async () => {
        const { status, settingsState } = await shown();
        seen.add(status);
        return settingsState === 'failed';
      },
      200_000,
    );
    expect([...seen]).to.not.include('offline');
    const { candidate, proxyInUse, status } = await shown();
    expect({ proxyInUse, status }).to.deep.equal({ proxyInUse: null, status: 'online' });
    expect(candidate).to.include({ state: 'reverted', reason: 'manager-not-reached' });
    expect(candidate?.detail).to.contain('proxy-timeout').and.to.contain(rogue.url);
    expect(await world.hasAlert(id, 'settings-reverted', 'raised')).to.equal(true);
    expect(await world.hasAlert(id, 'computer-offline', 'raised')).to.equal(false);
    await world.edit(policy, { proxies: [] });
    await world.applied(id, 'another list is taken');
    expect(await world.hasAlert(id, 'settings-reverted', 'resolved')).to.equal(true);
  });
});
