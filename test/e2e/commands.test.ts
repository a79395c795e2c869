import { expect } from 'chai';
import { DirectionWorld } from '../support/direction-world.js';
import { freePort } from '../support/free-port.js';
import { eventually } from '../support/poll.js';

interface Shown {
  readonly id: string;
  readonly number: number;
  readonly state: string;
  readonly reason: string | null;
  readonly result: Record<string, unknown> | null;
  readonly delivery: { readonly how: string; readonly at: string | null } | null;
  readonly startedAt: string | null;
  readonly endedAt: string | null;
}

const ENDED = ['succeeded', 'failed', 'expired', 'cancelled'];

for (const direction of ['agentInitiated', 'bidirectional', 'managerInitiated'] as const)
  describe(`commands for an agent under ${direction}`, function () {
    this.timeout(120_000);
    let world: DirectionWorld;
    let id: string;

    before(async () => {
      world = await DirectionWorld.start();
      const policy = await world.newPolicy('Commanded', {
        heartbeatIntervalSeconds: direction === 'agentInitiated' ? 5 : 600,
        listenerPort: await freePort(),
        communicationDirection: direction,
      });
      id = await world.enroll(policy, 'web1');
      world.run('web1');
      await world.inForce(direction, { id, name: 'web1' });
      await eventually('it is online', async () => (await world.computer(id)).status === 'online');
    });
    after(() => world?.end());

    const queue = (body: object) => world.manager.api.post<Shown>(`/computers/${id}/commands`, body);
    const ended = (commandId: string) =>
      eventually('the command ends', async () => {
        const shown = await world.manager.api.get<Shown>(`/commands/${commandId}`);
        return ENDED.includes(shown.state) ? shown : undefined;
      });

    it('says when it is delivered, delivers it, and shows its result', async () => {
      const queued = await queue({ type: 'ping' });
      expect(queued.state).to.equal('queued');
      expect(queued.delivery?.how).to.match(
        direction === 'agentInitiated' ? /^at the next heartbeat/ : /^dialled by the manager: now$/,
      );
      const shown = await ended(queued.id);
      expect(shown).to.deep.include({ state: 'succeeded', reason: null, delivery: null });
      expect(shown.result).to.include.keys('version', 'roundTripMs');
      expect(Number(shown.result?.['roundTripMs'])).to.be.within(0, 5000);
    });
  });
