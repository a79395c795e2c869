import { expect } from 'chai';
import { CommandDrill, EVENT_BATCHES, EVENT_KILL_POINTS } from '../support/command-drill.js';
import { makeDataDir, removeDataDir } from '../support/manager-process.js';

const ROUNDS = Number(process.env['WARDBEAT_TEST_ROUNDS'] ?? EVENT_KILL_POINTS.length);

describe(`event batches under ${ROUNDS} kills of agent and manager at each of their steps`, function () {
  this.timeout(7_200_000);
  const root = makeDataDir();
  const drill = new CommandDrill(root, EVENT_BATCHES);

  before(() => drill.start());
  after(async () => {
    await drill.end();
    removeDataDir(root);
  });

  it('loses none, doubles none, and stores each stream in its order', async () => {
    const kills: Record<string, number> = {};
    // Each point in turn, from a random one on: what is passed when is random anyway.
    const first = Math.floor(Math.random() * EVENT_KILL_POINTS.length);
    for (let round = 0; round < ROUNDS; round += 1) {
      const point = EVENT_KILL_POINTS[(first + round) % EVENT_KILL_POINTS.length]!;
      const name = `${point.victim}:${point.at}`;
      kills[name] = (kills[name] ?? 0) + 1;
      console.error(JSON.stringify({ round, kill: name }));
      await drill.round(point);
    }
    const { events, eventFaults } = await drill.verdict();
    console.error(JSON.stringify({ rounds: ROUNDS, events, eventFaults, kills }));
    expect(eventFaults).to.deep.equal([]);
  });
});
