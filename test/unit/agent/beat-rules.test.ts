import { expect } from 'chai';
import fc from 'fast-check';

import {
  clockAheadMs,
  clockEvents,
  isOutdatedGeneration,
  LONGEST_RETRY_MS,
  nextContactAt,
  nextContactWithBacklog,
  reactionTo,
  retryDelayMs,
  type Reaction,
} from '../../../agent/beat-rules.js';
import type { Random } from '../../../lib/random.js';

const chance = (fraction: number): Random => ({
  fraction: () => fraction,
  bytes: (length) => Buffer.alloc(length),
  uuid: () => '00000000-0000-4000-8000-000000000000',
});

describe('when the next heartbeat begins', () => {
  it('counts the order from the start of the attempt that it answers', () => {
    expect(nextContactAt(1_000_000, 60_000)).to.equal(1_060_000);
  });

  it('comes back within a second while a backlog is drained, never later than ordered', () => {
    expect(nextContactWithBacklog(500_000, 100_000)).to.equal(101_000);
    expect(nextContactWithBacklog(100_200, 100_000)).to.equal(100_200);
  });
});

describe('retries', () => {
  const rows: readonly [string, Parameters<typeof retryDelayMs>[0], number, number][] = [
    ['first failure', { failures: 1, intervalSeconds: 60, reaction: 'repeat' }, 0.5, 500],
    ['fourth failure', { failures: 4, intervalSeconds: 60, reaction: 'repeat' }, 0.5, 4000],
    ['capped by the interval', { failures: 40, intervalSeconds: 60, reaction: 'repeat' }, 0.5, 30_000],
    ['capped at 900 s', { failures: 40, intervalSeconds: 86_400, reaction: 'repeat' }, 0.5, 450_000],
    ['Retry-After', { failures: 1, intervalSeconds: 60, retryAfterMs: 7000, reaction: 'repeat' }, 0.5, 8750],
    ['a long Retry-After', { failures: 1, intervalSeconds: 60, retryAfterMs: 1e9, reaction: 'repeat' }, 0.5, 60_000],
    ['unwanted, soonest', { failures: 1, intervalSeconds: 60, reaction: 'try-slowly' }, 0, 30_000],
    ['unwanted, middle', { failures: 1, intervalSeconds: 60, reaction: 'try-slowly' }, 0.5, 45_000],
  ];
  for (const [name, facts, fraction, expected] of rows)
    it(`wait as the rules say: ${name}`, () => {
      expect(retryDelayMs(facts, chance(fraction))).to.equal(expected);
    });

  it('never wait longer than the interval or 900 s, whatever happened', () => {
    const facts = fc.record({
      failures: fc.integer({ min: 1, max: 1000 }),
      intervalSeconds: fc.integer({ min: 5, max: 86_400 }),
      retryAfterMs: fc.option(fc.integer({ min: 0, max: 1e12 }), { nil: undefined }),
      reaction: fc.constantFrom<Reaction>('repeat', 'try-slowly'),
    });
    fc.assert(
      fc.property(facts, fc.double({ min: 0, max: 0.999, noNaN: true }), (fact, fraction) => {
        const delay = retryDelayMs(fact, chance(fraction));
        return delay >= 0 && delay <= Math.min(fact.intervalSeconds * 1000, LONGEST_RETRY_MS);
      }),
    );
  });
});

describe('what a refusal asks of the agent', () => {
  const rows: readonly [string, boolean, Reaction][] = [
    ['request-invalid', true, 'give-up-events'],
    ['request-invalid', false, 'reduce'],
    ['body-too-large', true, 'give-up-events'],
    ['computer-removed', true, 'try-slowly'],
    ['computer-revoked', false, 'try-slowly'],
    ['certificate-refused', true, 'try-slowly'],
    ['identity-mismatch', true, 'try-slowly'],
    ['clock-skew', true, 'repeat'],
    ['unavailable', true, 'repeat'],
    ['too-many-requests', false, 'repeat'],
    ['internal', true, 'repeat'],
    ['unknown', true, 'repeat'],
  ];
  for (const [code, carriesEvents, expected] of rows)
    it(`answers ${code} ${carriesEvents ? 'with' : 'without'} events by ${expected}`, () => {
      expect(reactionTo(code, { carriesEvents })).to.equal(expected);
    });
});

describe('the settings generation', () => {
  const applied = { epoch: 'a', counter: 5 };
  const rows: readonly [string, { epoch: string; counter: number }, boolean][] = [
    ['a lower counter', { epoch: 'a', counter: 4 }, true],
    ['the same counter', { epoch: 'a', counter: 5 }, false],
    ['a higher counter', { epoch: 'a', counter: 6 }, false],
    ['a restored database', { epoch: 'b', counter: 1 }, false],
  ];
  for (const [name, offered, expected] of rows)
    it(`is ${expected ? 'refused' : 'taken'} for ${name}`, () => {
      expect(isOutdatedGeneration(offered, applied)).to.equal(expected);
      expect(isOutdatedGeneration(offered, undefined)).to.equal(false);
    });
});

describe('the clocks', () => {
  const at = (wall: number, monotonic: number, boot: number) => ({ wall, monotonic, boot });
  const rows: readonly [string, ReturnType<typeof at>, { stepMs: number; suspendedMs: number }][] = [
    ['nothing happens', at(1000, 1000, 1000), { stepMs: 0, suspendedMs: 0 }],
    ['slewing stays unseen', at(1500, 1000, 1000), { stepMs: 0, suspendedMs: 0 }],
    ['exactly the limit is no step', at(2000, 1000, 1000), { stepMs: 0, suspendedMs: 0 }],
    ['a step forward', at(4000, 1000, 1000), { stepMs: 3000, suspendedMs: 0 }],
    ['a step back', at(-9000, 1000, 1000), { stepMs: -10_000, suspendedMs: 0 }],
    ['a suspend moves no clock', at(61_000, 1000, 61_000), { stepMs: 0, suspendedMs: 60_000 }],
    ['a step during a suspend', at(71_000, 1000, 61_000), { stepMs: 10_000, suspendedMs: 60_000 }],
  ];
  for (const [name, after, expected] of rows)
    it(`are told apart: ${name}`, () => {
      expect(clockEvents(at(0, 0, 0), after)).to.deep.equal(expected);
    });

  it('give the offset of four timestamps, positive when ahead of the manager', () => {
    const times = { sentAt: 10_100, managerReceivedAt: 5150, managerSentAt: 5160, receivedAt: 10_210 };
    expect(clockAheadMs(times)).to.equal(5000);
  });
});
