import { expect } from 'chai';
import { createWakeQueue } from '../../../server/channels/wake-queue.js';
import type { WakeReason } from '../../../protocol/channel-messages.js';

interface Sent {
  readonly id: string;
  readonly reason: WakeReason;
}

/** A clock whose sleeps end when the test says so. */
function handWorld() {
  const world = {
    now: 0,
    load: 0,
    sent: [] as Sent[],
    gone: new Set<string>(),
    sleepers: [] as (() => void)[],
    async pass(ms: number): Promise<void> {
      world.now += ms;
      for (const wake of world.sleepers.splice(0)) wake();
      await new Promise((resolve) => setImmediate(resolve));
    },
  };
  const clock = {
    monotonic: () => world.now,
    sleep: (_ms: number, signal?: AbortSignal) =>
      new Promise<void>((resolve) => {
        const wake = () => resolve();
        signal?.addEventListener('abort', wake, { once: true });
        world.sleepers.push(() => {
          signal?.removeEventListener('abort', wake);
          wake();
        });
      }),
  };
  const send = (id: string, reason: WakeReason) => {
    if (world.gone.has(id)) return false;
    world.sent.push({ id, reason });
    return true;
  };
  return { world, queue: createWakeQueue({ clock, send, load: () => world.load }) };
}

const ids = (count: number): string[] => Array.from({ length: count }, (_, index) => `agent-${index}`);

describe('agents that wait to be woken', () => {
  it('are woken 256 at a time, in their order, each report making room for one', async () => {
    const { world, queue } = handWorld();
    queue.add(ids(1000), 'settings');
    expect(world.sent).to.have.length(256);
    queue.release('agent-5');
    queue.release('agent-5');
    queue.release('nobody');
    expect(world.sent.slice(256)).to.deep.equal([{ id: 'agent-256', reason: 'settings' }]);
    expect(queue.waiting()).to.equal(743);
    for (let index = 0; index < 1000; index += 1) queue.release(`agent-${index}`);
    expect(world.sent.map(({ id }) => id)).to.deep.equal(ids(1000));
    await queue.stop();
  });

  it('are asked once, for the last reason, while they wait', async () => {
    const { world, queue } = handWorld();
    world.load = 1;
    queue.add(['web1', 'web2', 'web1'], 'settings');
    queue.add(['web1'], 'commands');
    expect([queue.waiting(), world.sent]).to.deep.equal([2, []]);
    world.load = 0;
    await world.pass(20);
    expect(world.sent).to.deep.equal([
      { id: 'web1', reason: 'commands' },
      { id: 'web2', reason: 'settings' },
    ]);
    await queue.stop();
  });

  for (const { load, patienceMs } of [
    { load: 0.05, patienceMs: 250 },
    { load: 0.2, patienceMs: 3000 },
  ])
    it(`wait ${patienceMs} ms for those that never report at a load of ${load}, and for none that is gone`, async () => {
      const { world, queue } = handWorld();
      world.load = load;
      world.gone.add('agent-0');
      queue.add(ids(600), 'heartbeat');
      expect(world.sent).to.have.length(256);
      await world.pass(patienceMs - 1);
      expect(world.sent).to.have.length(256);
      await world.pass(1);
      expect(world.sent).to.have.length(512);
      await queue.stop();
      expect(queue.waiting()).to.equal(0);
    });

  it('are woken soon though thousands before them do not answer', async () => {
    const { world, queue } = handWorld();
    queue.add([...ids(5000), 'answers'], 'settings');
    for (let step = 0; step < 5000 / 20; step += 1) await world.pass(20);
    expect(world.sent.at(-1)).to.deep.equal({ id: 'answers', reason: 'settings' });
    await queue.stop();
  });
});
