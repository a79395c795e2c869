import { expect } from 'chai';
import { CommandDrill, KILL_POINTS } from '../support/command-drill.js';
import { makeDataDir, removeDataDir } from '../support/manager-process.js';

const ROUNDS = Number(process.env['WARDBEAT_TEST_ROUNDS'] ?? 12);

describe(`commands and event batches under ${ROUNDS} kills of agent and manager at each of their steps`, function () {
  this.timeout(7_200_000);
  const root = makeDataDir();
  const drill = new CommandDrill(root);

  before(() => drill.start());
  after(async () => {
    await drill.end();
    removeDataDir(root);
  });

  it('loses none and doubles none', async () => {
    const kills: Record<string, number> = {};
    // Each point in turn, from a random one on: what is passed when is random anyway.
    const first = Math.floor(Math.random() * KILL_POINTS.length);
    for (let round = 0; round < ROUNDS; round += 1) {
      const point = KILL_POINTS[(first + round) % KILL_POINTS.length]!;
      const name = `${point.victim}:${point.at}`;
      kills[name] = (kills[name] ?? 0) + 1;
      console.error(JSON.stringify({ round, kill: name }));
      await drill.round(point);
    }
    const verdict = await drill.verdict();
    console.error(JSON.stringify({ rounds: ROUNDS, ...verdict, kills }));
    expect(verdict, JSON.stringify(verdict)).to.deep.include({ lost: 0, doubled: 0, eventFaults: [] });
  });
});
