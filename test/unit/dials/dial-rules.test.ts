import { expect } from 'chai';
import fc from 'fast-check';
import { createLedger } from '../../../policies/listening-ledger.js';
import { decideDial, heartbeatRetryAt, type DialFacts, type FailedDials } from '../../../server/dials/dial-rules.js';

const ledger = createLedger([]);
const WANTED = 'a'.repeat(64);
const OTHER = 'b'.repeat(64);

const base: DialFacts = {
  computerId: '00000000-0000-4000-8000-000000000001',
  isRevoked: false,
  enrolledAt: 0,
  lastSeenAt: 0,
  contactDueAt: 60_000,
  intervalMs: 60_000,
  appliedFingerprint: WANTED,
  deliveredFingerprint: null,
  desired: { fingerprint: WANTED, direction: 'bidirectional', graceMs: 5000 },
  direction: 'bidirectional',
  directionSince: 0,
  isListening: true,
  isHeld: false,
  candidate: null,
  failed: null,
  commands: { areWaiting: false, areAwaited: false },
};

const decide = (changes: Partial<DialFacts>, at: number, ignoreFailures = false) => {
  const decision = decideDial({ ...base, ...changes }, { at, ledger, ignoreFailures });
  if (decision.kind === 'forget') return 'forget';
  return decision.kind === 'wait' ? `wait ${decision.until}` : decision.purpose;
};
const failedAt = (lastEndedAt: number, changes: Partial<FailedDials> = {}): FailedDials => ({
  count: 1,
  lastBegunAt: lastEndedAt - 10,
  lastEndedAt,
  lastResult: 'refused',
  ...changes,
});

describe('Deciding whether to dial', () => {
  const managerInitiated = { direction: 'managerInitiated' } as const;
  const outdated = { appliedFingerprint: OTHER } as const;
  const left = { direction: 'agentInitiated', lastSeenAt: 100_000, contactDueAt: 160_000 } as const;
  const proving = {
    candidate: { fingerprint: WANTED, direction: 'managerInitiated', state: 'proving', since: 1000 },
  } as const;
  const waiting = { commands: { areWaiting: true, areAwaited: false } } as const;
  const awaited = { commands: { areWaiting: false, areAwaited: true } } as const;
  const table: readonly [string, Partial<DialFacts>, number, string][] = [
    ['leaves a quiet bidirectional computer alone', {}, 30_000, 'wait 62500'],
    ['dials one that is overdue before its miss', {}, 62_500, 'overdue'],
    ['brings settings that wait', outdated, 1000, 'settings'],
    ['brings them once', { ...outdated, deliveredFingerprint: WANTED }, 1000, 'wait 62500'],
    ['does not bring what is a candidate', { ...outdated, ...proving, direction: 'bidirectional' }, 200_000, 'overdue'],
    ['leaves a bidirectional computer whose listener failed', { isListening: false }, 100_000, 'forget'],
    ['never dials agentInitiated', { direction: 'agentInitiated', directionSince: -200_000 }, 100_000, 'forget'],
    ['keeps the old way for two intervals', { ...left, ...outdated }, 119_999, 'settings'],
    ['ends the old way then', { ...left, ...outdated }, 120_000, 'forget'],
    ['waits for a heartbeat dial', managerInitiated, 59_999, 'wait 60000'],
    ['makes a heartbeat dial when it is due', managerInitiated, 60_000, 'heartbeat'],
    ['brings settings to managerInitiated at once', { ...managerInitiated, ...outdated }, 5, 'heartbeat'],
    ['dials a listener that waits for its proof', { ...proving, isListening: false }, 1000, 'candidate'],
    ['tries again after 3 s', { ...proving, failed: failedAt(1100) }, 1200, 'wait 4100'],
    ['until its deadline', { ...proving, isListening: false }, 121_000, 'forget'],
    ['brings commands', waiting, 500, 'commands'],
    ['not before half a second after a report', waiting, 499, 'wait 500'],
    ['brings commands to managerInitiated', { ...managerInitiated, ...waiting }, 500, 'heartbeat'],
    ['fetches results of managerInitiated', { ...managerInitiated, ...awaited }, 2000, 'heartbeat'],
    ['not sooner than two seconds after a report', { ...managerInitiated, ...awaited }, 1999, 'wait 2000'],
    ['leaves results to the agent that dials', awaited, 30_000, 'wait 62500'],
    ['does not bring commands to a listener that failed', { ...waiting, failed: failedAt(400) }, 600, 'wait 5487'],
    ['forgets a revoked computer', { ...managerInitiated, isRevoked: true }, 60_000, 'forget'],
    ['forgets a record without an agent', { ...managerInitiated, enrolledAt: null }, 60_000, 'forget'],
    ['does not dial an old agent that reported no direction', { direction: null, isListening: false }, 1, 'forget'],
  ];
  for (const [name, changes, at, expected] of table) it(name, () => expect(decide(changes, at)).to.equal(expected));

  it('tries a listener that failed again for its own sake, every quarter of an hour at most and ever more rarely', () => {
    const heard = { lastSeenAt: 1e9, contactDueAt: 1e9 + 60_000 };
    const retryOf = (computerId: string, count: number): number => {
      // Heartbeats come on time: nothing else is a reason to dial.
      const facts = { ...heard, computerId, failed: failedAt(0, { count }) };
      const earliest = [0, 900_000, 1_799_999, 3.6e6, 1e8].find((at) => decide(facts, at) === 'listener');
      const decision = decideDial({ ...base, ...facts }, { at: 0, ledger, ignoreFailures: false });
      expect(decision.kind).to.equal('wait');
      expect(earliest === undefined || earliest >= 900_000).to.equal(true);
      return decision.kind === 'wait' ? decision.until : 0;
    };
    const ids = Array.from({ length: 200 }, (_, index) => `00000000-0000-4000-8000-${String(index).padStart(12, '0')}`);
    for (const [count, most] of [
      [1, 1_800_000],
      [2, 2_700_000],
      [3, 4_500_000],
      [50, 87_300_000],
    ] as const) {
      const waits = ids.map((id) => retryOf(id, count));
      expect(Math.min(...waits)).to.be.at.least(900_000);
      expect(Math.max(...waits)).to.be.within(900_000 + (most - 900_000) * 0.8, most);
      expect(new Set(waits).size).to.be.greaterThan(150);
    }
  });

  it('puts off the dial of a listener for its own sake alone', () => {
    const heard = { failed: failedAt(0), isHeld: true, lastSeenAt: 3.6e6, contactDueAt: 3_660_000 };
    const putOff = (changes: Partial<DialFacts>, at: number) =>
      decideDial({ ...base, ...heard, ...changes }, { at, ledger, ignoreFailures: false, areListenersPutOff: true });
    expect(putOff({ isHeld: true }, 3_600_001)).to.deep.equal({ kind: 'wait', until: 3_660_001 });
    expect(putOff({}, 3_650_000), 'the silence is looked into').to.deep.equal({ kind: 'wait', until: 3_662_500 });
    expect(putOff({}, 3_662_500)).to.deep.include({ kind: 'dial', purpose: 'overdue' });
    expect(putOff({ ...waiting, isHeld: false }, 3_601_000)).to.deep.include({ kind: 'dial', purpose: 'commands' });
  });

  it('tries no listener for its own sake that works, is left, or is dialled anyway', () => {
    const at = 1e8;
    const heard = { lastSeenAt: at, contactDueAt: at + 60_000 };
    expect(decide(heard, at)).to.match(/^wait/);
    expect(decide({ ...heard, failed: failedAt(0), direction: 'agentInitiated', directionSince: at }, at)).to.match(
      /^wait/,
    );
    expect(decide({ ...heard, failed: failedAt(0), isListening: false }, at)).to.equal('forget');
    expect(decide({ ...heard, ...managerInitiated, failed: failedAt(0) }, at)).to.match(/^wait/);
    expect(decide({ ...heard, failed: failedAt(0), isHeld: true }, at)).to.equal('listener');
  });

  it('dials at once one that enrolled under managerInitiated', () => {
    const desired = { ...base.desired, direction: 'managerInitiated' } as const;
    const fresh = { desired, direction: null, lastSeenAt: null, contactDueAt: null, isListening: false };
    expect(decide({ ...fresh, enrolledAt: 500 }, 500)).to.equal('heartbeat');
    expect(decide({ ...fresh, desired: base.desired }, 500)).to.equal('forget');
  });

  it('gives an agent its allowance after a deaf span before it is dialled', () => {
    const deaf = createLedger([{ from: 50_000, until: 200_000 }]);
    const decision = decideDial(base, { at: 200_000, ledger: deaf, ignoreFailures: false });
    expect(decision).to.deep.equal({ kind: 'wait', until: 200_000 + 60_000 + 10_000 + 2500 });
  });

  it('tries an unreachable listener ever more rarely, at least once an hour', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 100_000 }), fc.uuid(), (count, computerId) => {
        const at = 1_000_000;
        const facts = { ...base, computerId, appliedFingerprint: OTHER, failed: failedAt(at, { count }) };
        const decision = decideDial(facts, { at, ledger, ignoreFailures: false });
        expect(decision.kind).to.equal('wait');
        if (decision.kind === 'wait') expect(decision.until - at).to.be.within(1000, 3_600_000);
      }),
    );
    expect(decide({ appliedFingerprint: OTHER, failed: failedAt(1000, { count: 9 }) }, 1001, true)).to.equal(
      'settings',
    );
  });

  it('looks once at each silence, whatever failed before the last report', () => {
    const heard = { lastSeenAt: 100_000, contactDueAt: 160_000 };
    const before = { ...heard, failed: failedAt(99_000, { count: 9 }) };
    expect(decide(before, 162_499)).to.equal('wait 162500');
    expect(decide(before, 162_500)).to.equal('overdue');
    expect(decide({ ...before, ...outdated }, 162_499)).to.match(/^wait/);
    expect(decide({ ...heard, failed: failedAt(162_600, { count: 10 }) }, 163_000)).to.match(/^wait/);
  });

  it('never waits longer than an interval to dial again for a heartbeat, and is there when the next miss is due', () => {
    const facts = fc.record({
      count: fc.integer({ min: 1, max: 1000 }),
      intervalMs: fc.integer({ min: 5000, max: 86_400_000 }),
      begunAfter: fc.integer({ min: 0, max: 1_000_000_000 }),
      lasted: fc.integer({ min: 0, max: 10_000 }),
      computerId: fc.uuid(),
    });
    fc.assert(
      fc.property(facts, ({ count, intervalMs, begunAfter, lasted, computerId }) => {
        const lastBegunAt = intervalMs + begunAfter;
        const lastEndedAt = lastBegunAt + lasted;
        const failed = { count, lastBegunAt, lastEndedAt, lastResult: 'timeout' };
        const retryAt = heartbeatRetryAt({ ...base, computerId, intervalMs, contactDueAt: intervalMs, failed });
        expect(retryAt - lastEndedAt).to.be.within(1000, intervalMs);
        const nextMissDue = (Math.floor(lastBegunAt / intervalMs) + 1) * intervalMs;
        expect(retryAt).to.be.at.most(Math.max(nextMissDue, lastEndedAt + 1000));
      }),
    );
  });
});
