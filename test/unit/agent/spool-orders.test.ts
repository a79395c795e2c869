import { expect } from 'chai';
import fc from 'fast-check';
import { runs } from '../../support/property-runs.js';
import { SpoolWorld } from '../../support/spool-world.js';

type Step = (world: SpoolWorld) => unknown;

const STEPS = {
  full: (world) => world.fill('full'),
  torn: (world) => world.fill('torn'),
  room: (world) => world.empty(),
  look: (world) => world.mend(),
  kill: (world) => world.kill({ canRead: true }),
  blind: (world) => world.kill({ canRead: false }),
  one: (world) => world.emit('detection', 1),
  few: (world) => world.emit('detection', 5),
  flood: (world) => world.emit('metric', 30),
  some: (world) => world.emit('log', 20),
  logs: (world) => world.emit('log', 90),
  own: (world) => world.emit('control', 20),
  taken: (world) => world.heartbeat({ takes: 1, answers: true }),
  partly: (world) => world.heartbeat({ takes: 0.4, answers: true }),
  unheard: (world) => world.heartbeat({ takes: 0.7, answers: false }),
  refused: (world) => world.refuse(),
  together: (world) => Promise.all([...emits(world), world.heartbeat({ takes: 0.5, answers: true }), ...emits(world)]),
  caught: async (world) => {
    const running = [...emits(world), world.heartbeat({ takes: 1, answers: true })];
    await Promise.resolve();
    world.fill('torn');
    running.push(world.mend(), ...emits(world));
    await Promise.all(running);
  },
  narrow: (world) => world.allow(150_000),
} satisfies Readonly<Record<string, Step>>;

type StepName = keyof typeof STEPS;

const emits = (world: SpoolWorld): Promise<void>[] => [
  world.emit('metric', 15),
  world.emit('detection', 5),
  world.emit('log', 50),
];

/** Orders that were wrong once. */
const FOUND: readonly (readonly StepName[])[] = [
  ['narrow', 'few', 'own', 'few', 'own'],
  ['narrow', 'own', 'together'],
  ['full', 'refused', 'room', 'together'],
  ['some', 'caught'],
  ['logs', 'caught'],
  ['together', 'unheard', 'kill', 'together'],
  ['narrow', 'flood', 'own', 'refused'],
];

async function live(steps: readonly StepName[]): Promise<SpoolWorld> {
  const world = await SpoolWorld.start();
  for (const step of steps) {
    await STEPS[step](world);
    await world.restartIfDue();
  }
  return world;
}

describe('a spool in every order of full disk, events, kill, restart and room', () => {
  it('keeps what it accepted while others have filled the disk, whatever comes then', async () => {
    for (const [mood, death] of [
      ['full', 'kill'],
      ['full', 'blind'],
      ['torn', 'kill'],
    ] as const)
      for (const rest of orders<StepName>(['one', 'some', death, 'taken', 'room'])) {
        const world = await live(['few', mood, ...rest]);
        expect(world.gaps, rest.join(', ')).to.deep.equal([]);
        await world.check();
        expect(world.gaps, rest.join(', ')).to.deep.equal([]);
      }
  }).timeout(60_000);

  it('drops nothing to make up for what others take, and refuses instead', async () => {
    const world = await live(['logs', 'narrow', 'few']);
    expect(world.refused).to.equal(5);
    expect(world.spool.status()).to.deep.include({ failure: 'No space left for the spool: other files have taken it' });
    expect(world.spool.status().lanes.detection).to.include({ next: 0, waiting: 0, dropped: 0 });
    await world.check();
    expect(world.spool.failure).to.equal(undefined);
  });

  it('accounts for every event, once, in any order', async function () {
    this.timeout(120_000);
    const step = fc.constantFrom(...(Object.keys(STEPS) as StepName[]));
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 25 }), async (steps) => {
        const world = await live(steps);
        await world.check();
      }),
      { ...runs(400), examples: FOUND.map((steps) => [[...steps]] as [StepName[]]) },
    );
  });
});

function orders<T>(items: readonly T[]): T[][] {
  if (items.length === 0) return [[]];
  return items.flatMap((item, index) => orders(items.toSpliced(index, 1)).map((rest) => [item, ...rest]));
}
