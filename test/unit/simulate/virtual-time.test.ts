import { expect } from 'chai';
import { SeededRandom } from '../../../scripts/simulate/seeded-random.js';
import { BEGIN_MS, Machine } from '../../../scripts/simulate/simulated-machine.js';
import { Timeline } from '../../../scripts/simulate/timeline.js';
import { Turnstile } from '../../../scripts/simulate/turnstile.js';

const turnstile = new Turnstile();
const settle = (): Promise<void> => turnstile.settle();

describe('virtual time', () => {
  it('comes to what is due in order, equal instants in order of asking', async () => {
    const timeline = new Timeline();
    const seen: string[] = [];
    for (const [at, name] of [
      [30, 'c'],
      [10, 'a'],
      [30, 'd'],
      [20, 'b'],
    ] as const)
      timeline.at(at, () => seen.push(`${name}${timeline.now}`));
    timeline.at(15, () => seen.push('never')).cancel();
    await timeline.run(30, settle);
    expect(seen).to.deep.equal(['a10', 'b20', 'c30', 'd30']);
    expect(timeline.now).to.equal(30);
  });

  it('stands still while anything is pending', async () => {
    const timeline = new Timeline();
    const seen: string[] = [];
    timeline.at(10, () => {
      void turnstile
        .enter(undefined, () => new Promise((resolve) => setTimeout(resolve, 5)))
        .then(() => seen.push(`done at ${timeline.now}`));
    });
    timeline.at(11, () => seen.push('next'));
    await timeline.run(20, settle);
    expect(seen).to.deep.equal(['done at 10', 'next']);
  });
});

describe('a simulated process', () => {
  const begin = () => {
    const timeline = new Timeline();
    const machine = new Machine(timeline, new SeededRandom('test'), { upForMs: 5000, wallOffsetMs: 100 });
    return { timeline, machine, process: machine.spawn() };
  };

  it('sleeps by virtual time and wakes late from a pause', async () => {
    const { timeline, process } = begin();
    const woken: number[] = [];
    void process.clock.sleep(10).then(() => woken.push(timeline.now));
    void process.clock.sleep(30).then(() => woken.push(timeline.now));
    timeline.at(20, () => process.pause());
    timeline.at(50, () => process.resume());
    await timeline.run(60, settle);
    expect(woken).to.deep.equal([10, 50]);
  });

  it('hears of nothing any more once it is killed', async () => {
    const { timeline, process } = begin();
    const heard: string[] = [];
    const aborter = new AbortController();
    void process.clock.sleep(10).then(() => heard.push('slept'));
    process.clock.sleep(10, aborter.signal).catch(() => heard.push('aborted'));
    void process.whileAlive(process.clock.sleep(1)).then(() => heard.push('alive'));
    process.kill();
    aborter.abort();
    process.deliver(() => heard.push('delivered'));
    await timeline.run(60, settle);
    expect(heard).to.deep.equal([]);
  });

  it('shows a stepped wall clock, and a suspend on the boot clock alone', async () => {
    const { timeline, machine, process } = begin();
    await timeline.run(1000, settle);
    machine.stepWall(-300);
    machine.noteSuspend(400);
    expect(process.clock.wall()).to.equal(BEGIN_MS + 1000 + 100 - 300);
    expect(process.clock.boot()).to.equal(6000);
    expect(process.clock.monotonic()).to.equal(5600);
    const { bootId } = machine;
    machine.reboot();
    expect(machine.bootId).not.to.equal(bootId);
    expect(machine.boot()).to.equal(0);
  });
});

describe('the turnstile', () => {
  it('lets a transaction end before another begins, unless it waits for something else', async () => {
    const gate = new Turnstile();
    const [one, other] = [{ isOpen: true }, { isOpen: true }];
    const order: string[] = [];
    const send = (client: { isOpen: boolean }, name: string) =>
      gate.enter(client, async () => {
        if (name.endsWith('begin')) gate.begun(client);
        if (name.endsWith('end')) gate.ended(client);
        order.push(name);
      });
    const waitsFor = async (): Promise<void> => {
      for (const step of ['begin', 'middle', 'end']) await send(other, `other ${step}`);
    };
    void (async () => {
      await send(one, 'one begin');
      await send(one, 'one middle');
      await waitsFor();
      await send(one, 'one end');
    })();
    void gate.enter(undefined, async () => void order.push('first'));
    await gate.settle();
    expect(order).to.deep.equal([
      'first',
      'one begin',
      'one middle',
      'other begin',
      'other middle',
      'other end',
      'one end',
    ]);
  });
});

describe('seeded chance', () => {
  it('is the same for the same name, and another for another', () => {
    const draw = (random: SeededRandom) => [random.fraction(), random.uuid(), random.between(1, 6), random.bytes(4)];
    expect(draw(new SeededRandom('a'))).to.deep.equal(draw(new SeededRandom('a')));
    expect(draw(new SeededRandom('a'))).not.to.deep.equal(draw(new SeededRandom('b')));
    expect(new SeededRandom('a').fork('x').fraction()).not.to.equal(new SeededRandom('a').fork('y').fraction());
    expect(new SeededRandom('a').uuid()).to.match(
      /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/,
    );
  });

  it('spreads evenly', () => {
    const random = new SeededRandom('even');
    const counts = [0, 0, 0, 0];
    for (let left = 4000; left > 0; left -= 1) counts[random.between(0, 3)]! += 1;
    for (const count of counts) expect(count).to.be.within(900, 1100);
  });
});
