import { expect } from 'chai';
import fc from 'fast-check';
import { randomUUID } from 'node:crypto';
import { CommandJournal } from '../../../../agent/commands/command-journal.js';
import { CommandRunner } from '../../../../agent/commands/command-runner.js';
import { notSupported, type ExecutorTable } from '../../../../agent/commands/executor.js';
import { forgottenOf, isUntold, type JournalEntry } from '../../../../agent/commands/journal-rules.js';
import type { StoreOperation } from '../../../../agent/spool/durable-store.js';
import { createLog } from '../../../../lib/log.js';
import { createSystemClock } from '../../../../lib/clock.js';
import { eventually } from '../../../support/poll.js';
import { TOLD_STATES, type CommandOrder } from '../../../../protocol/command-messages.js';

/** A disk whose content outlives the process on it; from the n-th write on it is dead. */
class Disk {
  readonly content = new Map<string, string>();
  writesLeft = Number.POSITIVE_INFINITY;
  /** Of everything that is written, while the disk is full. */
  isFull = false;
  readonly failure = undefined;

  async write(operations: readonly StoreOperation[]): Promise<void> {
    await Promise.resolve();
    if (this.isFull) throw new Error('no space');
    if (this.writesLeft <= 0) return new Promise(() => undefined);
    this.writesLeft -= 1;
    for (const operation of operations)
      if (operation.type === 'put') this.content.set(operation.key, operation.value);
      else this.content.delete(operation.key);
  }

  async get(key: string): Promise<string | undefined> {
    return this.content.get(key);
  }

  async scan(
    { gte, lte }: { gte: string; lte: string },
    visit: (key: string, value: string) => boolean,
  ): Promise<void> {
    for (const [key, value] of [...this.content].sort()) if (key >= gte && key <= lte && !visit(key, value)) return;
  }

  async recover(): Promise<undefined> {
    return undefined;
  }
}

const clock = createSystemClock();
const log = createLog({ name: 'test', level: 'silent' });

function order(type: string, changes: Partial<CommandOrder> = {}): CommandOrder {
  return { id: randomUUID(), number: 1, priority: 0, type, args: {}, expiresInMs: 60_000, ...changes };
}

async function startRunner(disk: Disk, executors: ExecutorTable, now = 0) {
  const journal = await CommandJournal.open(disk);
  const runner = new CommandRunner({ clock, log, journal, executors, managerNow: () => now, onNews: () => undefined });
  await runner.start();
  return { journal, runner };
}

/** Counts how often each command was begun. */
function counting(runs: string[], more: ExecutorTable = {}): ExecutorTable {
  const execute = async (_args: unknown, { commandId }: { commandId: string }) => {
    runs.push(commandId);
    return { ran: true };
  };
  return { ping: { execute }, 'rotate-certificate': { execute }, ...more };
}

const quiet = ({ runner }: { runner: CommandRunner }) => runner.quiet(2000, new AbortController().signal);

describe('the journal of commands', () => {
  it('runs a command once, however often it comes, and tells its result each time', async () => {
    const disk = new Disk();
    const runs: string[] = [];
    const agent = await startRunner(disk, counting(runs));
    const one = order('ping');
    await agent.runner.take([one, one], 0);
    await quiet(agent);
    const [told] = agent.runner.tellings;
    expect(told).to.deep.include({ id: one.id, state: 'succeeded', result: { ran: true } });
    await agent.runner.told([{ id: one.id, state: 'succeeded' }]);
    expect(agent.runner.tellings).to.deep.equal([]);
    await agent.runner.take([one], 0);
    await quiet(agent);
    expect(agent.runner.tellings).to.deep.equal([told]);
    const next = await startRunner(disk, counting(runs));
    await next.runner.take([one], 0);
    await quiet(next);
    expect(next.runner.tellings).to.deep.equal([told]);
    expect(runs).to.deep.equal([one.id]);
  });

  it('runs higher priority first, then by number', async () => {
    const runs: string[] = [];
    const agent = await startRunner(new Disk(), counting(runs));
    const orders = [
      order('ping', { number: 3 }),
      order('ping', { number: 2, priority: 5 }),
      order('ping', { number: 1, priority: 5 }),
    ];
    await agent.runner.take(orders, 0);
    await quiet(agent);
    expect(runs.map((id) => orders.find((one) => one.id === id)?.number)).to.deep.equal([1, 2, 3]);
  });

  it('isolates and releases on a full disk, before what waits for the disk, and writes it down later', async () => {
    const disk = new Disk();
    const runs: string[] = [];
    const execute = async (_args: unknown, { commandId }: { commandId: string }) => {
      runs.push(commandId);
      // While this one runs the disk fills.
      disk.isFull = true;
      return null;
    };
    const agent = await startRunner(
      disk,
      counting(runs, { ping: { execute }, isolate: { execute }, release: { execute } }),
    );
    const [first, second] = [order('ping', { number: 1 }), order('ping', { number: 2 })];
    const [isolate, release] = [order('isolate', { number: 3 }), order('release', { number: 4 })];
    await agent.runner.take([first, second, isolate], 0);
    await eventually('it is isolated', () => runs.includes(isolate.id));
    await eventually('it is told', () => stateOf(agent, isolate) === 'succeeded');
    const other = order('ping', { number: 5 });
    const refused = await agent.runner.take([release, other], 0).catch((error: unknown) => error);
    expect(String(refused)).to.contain('no space');
    await eventually('it is released', () => stateOf(agent, release) === 'succeeded', 20_000);
    expect(runs).to.deep.equal([first.id, isolate.id, release.id]);
    expect(stateOf(agent, other), 'not without the disk').to.equal(undefined);
    disk.isFull = false;
    await agent.journal.rewrite();
    await agent.runner.stop();
    const next = await CommandJournal.open(disk);
    const ended = next.entries.filter(({ state }) => state === 'ended').map(({ order: { id } }) => id);
    expect(ended).to.include.members([isolate.id, release.id]);
  }).timeout(30_000);
  const stateOf = ({ journal }: { journal: CommandJournal }, { id }: CommandOrder) =>
    journal.tellings.find((telling) => telling.id === id)?.state;

  const failures: readonly [string, CommandOrder, string, string][] = [
    ['a type it does not know', order('brew-coffee'), 'failed', 'unknown-type'],
    ['a name of the prototype', order('constructor'), 'failed', 'unknown-type'],
    ['arguments it does not know', order('ping', { args: { cups: 2 } }), 'failed', 'arguments-invalid'],
    ['what it cannot do', order('isolate'), 'failed', 'not-supported'],
    ['what throws', order('get-config'), 'failed', 'failed'],
  ];
  for (const [name, given, state, reason] of failures)
    it(`answers ${name} with ${reason}`, async () => {
      const agent = await startRunner(
        new Disk(),
        counting([], {
          isolate: { execute: () => Promise.reject(notSupported('no firewall')) },
          'get-config': { execute: () => Promise.reject(new Error('the disk is on fire')) },
        }),
      );
      await agent.runner.take([given], 0);
      await quiet(agent);
      expect(agent.runner.tellings[0]).to.deep.include({ id: given.id, state, reason });
    });

  it('does not begin what expired, and leaves out what it cannot read', async () => {
    const runs: string[] = [];
    const agent = await startRunner(new Disk(), counting(runs), 60_000);
    const late = order('ping', { expiresInMs: 60_000 });
    await agent.runner.take([late, { type: 'ping' }, null, 7], 0);
    await quiet(agent);
    expect(agent.runner.tellings).to.deep.equal([{ id: late.id, state: 'expired' }]);
    expect(runs).to.deep.equal([]);
  });

  const interrupted: readonly [string, object, number][] = [
    ['ping', { state: 'succeeded', result: { ran: true } }, 1],
    ['rotate-certificate', { state: 'failed', reason: 'interrupted' }, 0],
    ['restart-agent', { state: 'succeeded', result: { pid: 2 } }, 0],
  ];
  for (const [type, expected, count] of interrupted)
    it(`settles ${type} that a killed process was running`, async () => {
      const disk = new Disk();
      const execute = () => new Promise<never>(() => undefined);
      const killed = await startRunner(disk, { [type]: { execute } });
      await killed.runner.take([order(type)], 0);
      await killed.runner.quiet(50, new AbortController().signal);
      expect(killed.runner.tellings[0]?.state).to.equal('running');
      const runs: string[] = [];
      const restart = { execute, afterRestart: () => ({ pid: 2 }) };
      const next = await startRunner(disk, counting(runs, { 'restart-agent': restart }));
      await quiet(next);
      expect(next.runner.tellings[0]).to.deep.include(expected);
      expect(runs).to.have.length(count);
    });

  it('does not forget on the disk what became of a command while a telling of it is noted', async () => {
    const disk = new Disk();
    const journal = await CommandJournal.open(disk);
    const one = order('rotate-certificate');
    await journal.take([one], 0);
    const [waiting] = journal.entries;
    await Promise.all([journal.begin(waiting!), journal.told([{ id: one.id, state: 'received' }])]);
    expect((await CommandJournal.open(disk)).running).to.have.length(1);
    await Promise.all([journal.end(waiting!, { state: 'succeeded' }), journal.take([one], 0)]);
    for (const { entries } of [journal, await CommandJournal.open(disk)])
      expect(entries.map(({ state }) => state)).to.deep.equal(['ended']);
  });

  it('loses none and doubles none, at whatever write the process is killed', async () => {
    const types = fc.array(fc.constantFrom('rotate-certificate', 'ping'), { minLength: 1, maxLength: 4 });
    await fc.assert(
      fc.asyncProperty(types, fc.array(fc.integer({ min: 0, max: 8 }), { maxLength: 4 }), async (given, kills) => {
        const disk = new Disk();
        const runs: string[] = [];
        const orders = given.map((type, index) => order(type, { number: index + 1 }));
        for (const writes of [...kills, Number.POSITIVE_INFINITY]) {
          disk.writesLeft = writes;
          const lives = startRunner(disk, counting(runs)).then(async (agent) => {
            // The manager carries what it was told nothing of.
            await agent.runner.take(orders, 0);
            await quiet(agent);
            return agent;
          });
          const died = clock.sleep(15).then(() => undefined);
          const agent = writes === Number.POSITIVE_INFINITY ? await lives : await Promise.race([lives, died]);
          await agent?.runner.stop();
        }
        const { runner } = await startRunner(disk, counting(runs));
        await quiet({ runner });
        const told = new Map(runner.tellings.map((one) => [one.id, one]));
        for (const { id, type } of orders) {
          const count = runs.filter((ran) => ran === id).length;
          const outcome = told.get(id);
          expect(outcome?.state, 'none is lost').to.be.oneOf(['succeeded', 'failed']);
          if (type === 'rotate-certificate') expect(count, 'none runs twice').to.be.at.most(1);
          if (outcome?.state === 'succeeded') expect(count).to.be.at.least(1);
          else expect(outcome?.reason).to.equal('interrupted');
        }
      }),
      { numRuns: 40 },
    );
  });

  it('remembers a bounded number of results, and always what the manager has not heard', () => {
    const entry = fc.record({
      order: fc.constant(order('ping')),
      expiresAt: fc.constant(1),
      arrival: fc.nat(100),
      state: fc.constantFrom('waiting', 'running', 'ended'),
      outcome: fc.constant({ state: 'succeeded' }),
      told: fc.option(fc.constantFrom(...TOLD_STATES), { nil: undefined }),
    }) as fc.Arbitrary<JournalEntry>;
    fc.assert(
      fc.property(fc.array(entry, { maxLength: 20 }), (entries) => {
        const forgotten = forgottenOf(entries, 5);
        expect(forgotten.every((one) => one.state === 'ended' && !isUntold(one))).to.equal(true);
        const kept = entries.filter((one) => !forgotten.includes(one) && one.state === 'ended' && !isUntold(one));
        expect(kept.length).to.be.at.most(5);
        if (forgotten.length > 0)
          expect(Math.max(...forgotten.map(({ arrival }) => arrival))).to.be.at.most(
            Math.min(...kept.map(({ arrival }) => arrival)),
          );
      }),
    );
  });
});
