import { expect } from 'chai';
import { Problem } from '../../../lib/problem.js';
import { COMMAND_TYPE_NAMES } from '../../../protocol/command-types.js';
import { checkRequest, digestOf, type CommandRequest } from '../../../server/agent-commands/command-request.js';
import { deliveryOf, type DeliveryFacts } from '../../../server/agent-commands/delivery-rules.js';

const DAY_MS = 86_400_000;
const NOW = Date.UTC(2026, 10, 21, 12);
const clock = {
  fleet: () => NOW - DAY_MS,
  toWall: (at: number) => at + DAY_MS,
  toFleet: (wall: number) => wall - DAY_MS,
};
const instant = (ms: number) => new Date(ms).toISOString();

function faultsOf(request: CommandRequest): readonly string[] {
  try {
    checkRequest(request, clock);
    return [];
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    return (error.facts.errors ?? []).map(({ pointer }) => pointer);
  }
}

describe('a request for a command', () => {
  const rows: readonly [string, CommandRequest, readonly string[]][] = [
    ['no arguments', { type: 'ping' }, []],
    ['arguments of a type without any', { type: 'ping', args: { a: 1, b: 2 } }, ['#/args/a', '#/args/b']],
    ['arguments that are none', { type: 'ping', args: [] }, ['#/args']],
    ['a type that is none', { type: 'format-disk' }, ['#/type']],
    ['a name of the prototype', { type: 'constructor' }, ['#/type']],
    ['good arguments', { type: 'set-log-level', args: { level: 'debug', seconds: 60 } }, []],
    [
      'every bad argument is named',
      { type: 'set-log-level', args: { level: 'loud', seconds: 59, more: true } },
      ['#/args/level', '#/args/seconds', '#/args/more'],
    ],
    ['arguments that are too many', { type: 'ping', args: { text: 'x'.repeat(9000) } }, ['#/args']],
    ['an expiry now', { type: 'ping', expiresAt: instant(NOW) }, ['#/expiresAt']],
    ['an expiry in a millisecond', { type: 'ping', expiresAt: instant(NOW + 1) }, []],
    ['an expiry in 31 days', { type: 'ping', expiresAt: instant(NOW + 31 * DAY_MS) }, ['#/expiresAt']],
    ['a begin in 91 days', { type: 'ping', notBefore: instant(NOW + 91 * DAY_MS) }, ['#/notBefore']],
    [
      'an expiry before the begin',
      { type: 'ping', notBefore: instant(NOW + DAY_MS), expiresAt: instant(NOW + DAY_MS) },
      ['#/expiresAt'],
    ],
    ['a begin that is past', { type: 'ping', notBefore: instant(NOW - DAY_MS) }, []],
  ];
  for (const [name, request, pointers] of rows) it(name, () => expect(faultsOf(request)).to.deep.equal(pointers));

  it('expires 7 days after it may begin', () => {
    expect(checkRequest({ type: 'ping' }, clock).expiresAt).to.equal(NOW + 6 * DAY_MS);
    expect(checkRequest({ type: 'ping', notBefore: instant(NOW + DAY_MS) }, clock)).to.deep.include({
      notBefore: NOW,
      expiresAt: NOW + 7 * DAY_MS,
    });
  });

  it('takes every type without arguments', () => {
    for (const type of COMMAND_TYPE_NAMES) expect(faultsOf({ type }), type).to.deep.equal([]);
  });

  it('is the same whatever the order of its members', () => {
    expect(digestOf({ type: 'ping', args: { a: 1, b: 2 } })).to.deep.equal(
      digestOf({ args: { b: 2, a: 1 }, type: 'ping' }),
    );
    expect(digestOf({ type: 'ping' })).to.deep.equal(digestOf({ type: 'ping', args: undefined }));
    expect(digestOf({ type: 'ping' })).not.to.deep.equal(digestOf({ type: 'ping', priority: 1 }));
  });
});

describe('when a command is delivered', () => {
  const base: DeliveryFacts = {
    now: NOW,
    notBefore: null,
    isEnrolled: true,
    isInContact: true,
    isHeld: false,
    isDialled: false,
    nextContactAt: NOW + 10_000,
  };
  const later = NOW + 3_600_000;
  const rows: readonly [string, Partial<DeliveryFacts>, string, number | null][] = [
    ['at the next heartbeat', {}, 'at the next heartbeat, 12:00:10', NOW + 10_000],
    ['by a dial', { isDialled: true }, 'dialled by the manager: now', NOW],
    ['over a held connection', { isHeld: true, isDialled: true }, 'held: now', NOW],
    ['held, whatever its status says', { isHeld: true, isInContact: false }, 'held: now', NOW],
    ['away', { isInContact: false, isDialled: true }, 'when the agent is back in contact', null],
    ['never enrolled', { isEnrolled: false }, 'when an agent enrolls as this computer', null],
    ['overdue', { nextContactAt: NOW - 1 }, 'at the next heartbeat', null],
    ['later, held', { notBefore: later, isHeld: true }, 'not before 13:00:00; then held: at once', later],
    ['later, by a heartbeat', { notBefore: later }, 'not before 13:00:00; then at the next heartbeat', null],
    ['a begin that is past', { notBefore: NOW - 1 }, 'at the next heartbeat, 12:00:10', NOW + 10_000],
  ];
  for (const [name, changes, how, at] of rows)
    it(name, () =>
      expect(deliveryOf({ ...base, ...changes })).to.deep.equal({ how, at: at === null ? null : instant(at) }),
    );
});
