import { expect } from 'chai';
import fc from 'fast-check';
import { MAX_COMMANDS_PER_ORDERS, TOLD_STATES, type CommandResult } from '../../../protocol/command-messages.js';
import {
  byTurn,
  flagsOf,
  isToDeliver,
  NO_RESULT,
  NOT_DELIVERED,
  planCommands,
  tellCommand,
} from '../../../server/agent-commands/command-rules.js';
import { COMMAND_STATES, isOpen, type Command, type CommandState } from '../../../server/agent-commands/command.js';
import { sampleCommand } from '../../support/command-samples.js';

const AT = 5000;
const tell = (command: Command, state: CommandResult['state'], more: Partial<CommandResult> = {}) =>
  tellCommand(command, { id: command.id, state, ...more }, AT);

describe('what a report makes of a command', () => {
  const delivered = sampleCommand({ state: 'delivered', deliveredAt: 2000 });
  const rows: readonly [string, Command, CommandResult['state'], Partial<Command>][] = [
    ['received is acknowledged', delivered, 'received', { state: 'delivered', acknowledgedAt: AT }],
    ['running has begun', delivered, 'running', { state: 'running', startedAt: AT, acknowledgedAt: AT }],
    ['succeeded is the end', delivered, 'succeeded', { state: 'succeeded', endedAt: AT, reason: null }],
    ['failed is the end', delivered, 'failed', { state: 'failed', endedAt: AT }],
    ['expired was not begun', delivered, 'expired', { state: 'expired', endedAt: AT, reason: 'not-begun' }],
    ['told of before it was delivered', sampleCommand(), 'succeeded', { state: 'succeeded', deliveredAt: AT }],
    ['running never goes back', { ...delivered, state: 'running', startedAt: 3000 }, 'received', { state: 'running' }],
  ];
  for (const [name, command, state, expected] of rows)
    it(name, () => expect(tell(command, state)).to.deep.include(expected));

  it('keeps the begin that it knows, and reckons the one that it does not', () => {
    expect(tell({ ...delivered, state: 'running', startedAt: 3000 }, 'failed').startedAt).to.equal(3000);
    expect(tell(delivered, 'succeeded', { durationMs: 400.6 }).startedAt).to.equal(4599);
    expect(tell(delivered, 'succeeded', { durationMs: 60_000 }).startedAt).to.equal(2000);
  });

  it('measures the round trip of a ping from its delivery', () => {
    const ping = { ...delivered, type: 'ping' };
    expect(tell(ping, 'succeeded', { result: { version: '1' } }).result).to.deep.equal({
      version: '1',
      roundTripMs: 3000,
    });
    // Another manager delivered it, whose fleet clock is ahead.
    expect(tell({ ...ping, deliveredAt: AT + 3 }, 'succeeded').result).to.deep.equal({ roundTripMs: 0 });
    expect(tell(ping, 'failed', { reason: 'timeout' }).result).to.equal(null);
  });

  it('lets a result that comes late replace the one that was not heard, and nothing else', () => {
    const unheard = { ...delivered, state: 'expired', reason: NO_RESULT, endedAt: 3000 } as const;
    expect(tell(unheard, 'succeeded')).to.deep.include({ state: 'succeeded', reason: null });
    expect(tell(unheard, 'running')).to.equal(unheard);
    const other = { ...unheard, reason: NOT_DELIVERED };
    expect(tell(other, 'succeeded')).to.equal(other);
  });

  it('never changes what ended, and never goes back, whatever comes', () => {
    const rank = (state: CommandState) => Math.min(3, COMMAND_STATES.indexOf(state));
    const state = fc.constantFrom(...COMMAND_STATES);
    fc.assert(
      fc.property(state, fc.array(fc.constantFrom(...TOLD_STATES), { maxLength: 8 }), (first, told) => {
        let command = sampleCommand({ state: first, deliveredAt: first === 'queued' ? null : 2000 });
        for (const one of told) {
          const after = tell(command, one);
          expect(rank(after.state)).to.be.at.least(rank(command.state));
          if (!isOpen(command.state)) expect(after).to.equal(command);
          command = after;
        }
      }),
    );
  });
});

describe('what orders carry', () => {
  const plan = (commands: readonly Command[], told: readonly CommandResult[] = [], takesCommands = true) =>
    planCommands({ commands, told, takesCommands, receivedAt: AT, at: AT });

  const rows: readonly [string, Partial<Command>, boolean][] = [
    ['queued', {}, true],
    ['delivered and not told of', { state: 'delivered', deliveredAt: 1 }, true],
    ['told of', { state: 'delivered', deliveredAt: 1, acknowledgedAt: 2 }, false],
    ['running', { state: 'running', acknowledgedAt: 2 }, false],
    ['not due yet', { isDue: false }, false],
    ['expired a moment ago', { expiresAt: AT }, false],
    ['a millisecond before it expires', { expiresAt: AT + 1 }, true],
    ['delivered, and expired since', { state: 'delivered', expiresAt: AT - 1 }, true],
    ['cancelled', { state: 'cancelled' }, false],
  ];
  for (const [name, changes, isCarried] of rows)
    it(`${isCarried ? 'carry' : 'leave out'} what is ${name}`, () => {
      const command = sampleCommand(changes);
      expect(isToDeliver(command, AT)).to.equal(isCarried);
      expect(plan([command]).orders.map(({ id }) => id)).to.deep.equal(isCarried ? [command.id] : []);
    });

  it('go by priority, then by number, and mark what they carry first', () => {
    const [low, urgent, next] = [
      sampleCommand({ number: 1 }),
      sampleCommand({ number: 3, priority: 9 }),
      sampleCommand({ number: 2, state: 'delivered', deliveredAt: 1 }),
    ];
    const { orders, changed, hasCommands, awaitsResults } = plan([low, urgent, next]);
    expect(orders.map(({ number }) => number)).to.deep.equal([3, 1, 2]);
    expect(orders[0]?.expiresInMs).to.equal(95_000);
    expect(changed.map(({ number, state, deliveredAt }) => [number, state, deliveredAt])).to.deep.equal([
      [3, 'delivered', AT],
      [1, 'delivered', AT],
    ]);
    expect({ hasCommands, awaitsResults }).to.deep.equal({ hasCommands: true, awaitsResults: false });
  });

  it('carry no more than their number and their bytes, and always one', () => {
    const many = Array.from({ length: 30 }, (_, index) => sampleCommand({ number: index + 1 }));
    expect(plan(many).orders).to.have.length(MAX_COMMANDS_PER_ORDERS);
    const args = { text: 'x'.repeat(150_000) };
    const large = [sampleCommand({ number: 1, args }), sampleCommand({ number: 2, args })];
    expect(plan(large).orders.map(({ number }) => number)).to.deep.equal([1]);
    expect(plan(large).hasCommands).to.equal(true);
  });

  it('fail what an older agent would leave unread', () => {
    const { orders, changed, hasCommands } = plan([sampleCommand()], [], false);
    expect(orders).to.deep.equal([]);
    expect(changed[0]).to.deep.include({ state: 'failed', reason: 'not-supported', endedAt: AT });
    expect(hasCommands).to.equal(false);
  });

  it('take what the report tells first', () => {
    const command = sampleCommand({ state: 'delivered', deliveredAt: 1 });
    const { orders, changed, awaitsResults } = plan([command], [{ id: command.id, state: 'running' }]);
    expect(orders).to.deep.equal([]);
    expect(changed[0]?.state).to.equal('running');
    expect(awaitsResults).to.equal(true);
    expect(plan([command], [{ id: command.id, state: 'succeeded' }]).awaitsResults).to.equal(false);
  });

  it('leave flags that say what is open', () => {
    const command = fc
      .record({
        state: fc.constantFrom(...COMMAND_STATES),
        isDue: fc.boolean(),
        acknowledgedAt: fc.constantFrom(null, 2000),
        expiresAt: fc.constantFrom(AT - 1, AT + 1),
        number: fc.integer({ min: 1, max: 99 }),
        priority: fc.integer({ min: 0, max: 9 }),
      })
      .map(sampleCommand);
    fc.assert(
      fc.property(fc.array(command, { maxLength: 12 }), (commands) => {
        const { orders, ...flags } = plan(commands);
        const { changed, ...shown } = flags;
        const after = commands.map((one) => changed.find(({ id }) => id === one.id) ?? one);
        expect(shown).to.deep.equal(flagsOf(after, AT));
        expect(orders.length).to.equal(commands.filter((one) => isToDeliver(one, AT)).length);
        expect(
          commands
            .toSorted(byTurn)
            .filter((one) => isToDeliver(one, AT))
            .map(({ id }) => id),
        ).to.deep.equal(orders.map(({ id }) => id));
        // The same report's answer again carries the same.
        expect(plan(after).orders).to.deep.equal(orders);
        expect(plan(after).changed).to.deep.equal([]);
      }),
    );
  });
});
