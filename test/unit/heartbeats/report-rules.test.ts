import { randomUUID } from 'node:crypto';
import { expect } from 'chai';
import { Problem } from '../../../lib/problem.js';
import type { Report } from '../../../protocol/heartbeat-messages.js';
import type { LiveRow, LockedComputer } from '../../../server/heartbeats/live-row.js';
import {
  acceptReport,
  assertLanes,
  classifyReport,
  gapOf,
  repeatReport,
} from '../../../server/heartbeats/report-rules.js';
import type { ComputerSettings } from '../../../server/policies/settings-cache.js';
import { steadyReport, toExchange } from '../../support/ingest-world.js';

const NOW = 1_790_000_000_000;
const ID = 'a0000000-0000-4000-8000-000000000001';
const DESIRED = 'd'.repeat(64);
const OLD = '0'.repeat(64);
const NEWER = 'e'.repeat(64);

const settings = (changes: Partial<ComputerSettings> = {}): ComputerSettings => ({
  json: '{}',
  fingerprint: DESIRED,
  intervalMs: 60_000,
  verdictRules: { missedAllowed: 2, graceMs: 5000, offlineAlertForStoppedVm: false, goodbyeToleranceMs: 300_000 },
  clockLimits: { changeMs: 60_000, driftMs: 300_000 },
  settingsPendingContactsAllowed: 2,
  certificateDays: { lifetime: 30, renewAfterExpiry: 7, expiryAlert: 7 },
  eventRateLimitPerMinute: 600,
  rulesSince: 0,
  ...changes,
});

const row = (changes: Partial<LiveRow> = {}): LiveRow => ({
  computerId: ID,
  lastSeenAt: NOW - 60_000,
  seenByAgentAt: NOW - 60_000,
  seenByDialAt: null,
  contactDueAt: NOW,
  confirmedIntervalMs: 60_000,
  deliveredIntervalMs: null,
  deliveredFingerprint: null,
  sequence: 5,
  reportId: null,
  reportDigest: null,
  bootId: 'boot-1',
  instanceId: '11111111-1111-4111-8111-111111111111',
  tokenN: 41,
  appliedFingerprint: DESIRED,
  pendingContacts: 0,
  stateDigest: null,
  answeredAt: NOW - 59_990,
  clockOffsetMs: 0,
  clockErrorMs: 5,
  clockSampledAt: NOW - 120_000,
  isClockDrifting: false,
  hasCommands: false,
  awaitsResults: false,
  ...changes,
});

const exchange = (changes: Partial<Report> = {}) =>
  toExchange(ID, NOW, { ...steadyReport(NOW), sequence: 6, appliedFingerprint: DESIRED, ...changes });

const locked = (live: Partial<LiveRow> = {}, isRevoked = false): LockedComputer => ({
  live: row(live),
  subject: { kind: 'agent', policyId: ID, overrides: null },
  isRevoked,
  isFirstUse: false,
});

const accept = (live: Partial<LiveRow>, report: Partial<Report> = {}, effective = settings()) =>
  acceptReport(row(live), exchange(report), {
    settings: effective,
    now: NOW + 3,
    clock: { toWall: (at) => at, toTrusted: (at) => at },
    stateDigest: null,
    isStateNew: false,
    revertedBefore: null,
  });

describe('classifying a report', () => {
  const same = exchange();
  const seen = { reportId: same.report.reportId, reportDigest: same.digest, sequence: 6 };
  const cases: readonly (readonly [string, LockedComputer | undefined, ReturnType<typeof exchange>, string])[] = [
    ['no row', undefined, same, 'removed'],
    ['a revoked computer', locked({}, true), same, 'revoked'],
    ['a revoked computer that repeats', locked(seen, true), same, 'revoked'],
    ['the next sequence', locked(), same, 'accepted'],
    ['a sequence after a hole', locked(), exchange({ sequence: 900 }), 'accepted'],
    ['the same id and digest', locked(seen), same, 'repeat'],
    ['the same id with other bytes', locked({ ...seen, reportDigest: Buffer.alloc(32) }), same, 'older'],
    ['the same sequence with another id', locked({ ...seen, reportId: randomUUID() }), same, 'older'],
    ['a lower sequence of the same run', locked(), exchange({ sequence: 5 }), 'older'],
    ['a lower sequence of another boot', locked(), exchange({ sequence: 1, bootId: 'boot-2' }), 'accepted'],
    [
      'a lower sequence of another process of the same boot',
      locked(),
      exchange({ sequence: 1, instanceId: randomUUID() }),
      'older',
    ],
    [
      'the first report',
      locked({ bootId: null, instanceId: null, sequence: 0 }),
      exchange({ sequence: 0 }),
      'accepted',
    ],
  ];
  for (const [name, computer, report, expected] of cases)
    it(`calls ${name} ${expected}`, () => expect(classifyReport(computer, report)).to.equal(expected));
});

describe('accepting a report', () => {
  it('moves receipt, sequence and token, and orders a contact within the interval', () => {
    const { next, nextContactInMs } = accept({});
    expect([next.lastSeenAt, next.sequence, next.tokenN, next.answeredAt]).to.deep.equal([NOW, 6, 42, NOW + 3]);
    expect(nextContactInMs).to.be.within(48_000, 60_000);
    expect(next.contactDueAt).to.equal(NOW + nextContactInMs);
  });

  it('never moves the receipt back', () => {
    expect(accept({ lastSeenAt: NOW + 10 }).next.lastSeenAt).to.equal(NOW + 10);
  });

  const slow = settings({ fingerprint: NEWER, intervalMs: 600_000 });
  const delivery: readonly (readonly [string, Partial<LiveRow>, Partial<Report>, ComputerSettings, unknown[]])[] = [
    ['nothing when settings are applied', {}, {}, settings(), [60_000, null, null]],
    ['a longer interval at once', {}, {}, slow, [60_000, 600_000, NEWER]],
    ['no interval where it stays the same', {}, {}, settings({ fingerprint: NEWER }), [60_000, null, NEWER]],
    [
      'the longest of several unconfirmed',
      { deliveredIntervalMs: 900_000, deliveredFingerprint: OLD },
      {},
      slow,
      [60_000, 900_000, NEWER],
    ],
    [
      'nothing once it is confirmed',
      { deliveredIntervalMs: 600_000 },
      { intervalSeconds: 600, appliedFingerprint: NEWER },
      slow,
      [600_000, null, null],
    ],
    [
      'a shorter one after a confirmed longer one',
      { confirmedIntervalMs: 600_000 },
      { intervalSeconds: 600, appliedFingerprint: OLD },
      settings(),
      [600_000, 60_000, DESIRED],
    ],
  ];
  for (const [name, live, report, effective, expected] of delivery)
    it(`remembers ${name}`, () => {
      const { confirmedIntervalMs, deliveredIntervalMs, deliveredFingerprint } = accept(live, report, effective).next;
      expect([confirmedIntervalMs, deliveredIntervalMs, deliveredFingerprint]).to.deep.equal(expected);
    });

  const differing = { appliedFingerprint: OLD };
  const pending: readonly (readonly [string, Partial<LiveRow>, Partial<Report>, number, string | null])[] = [
    ['not before settings were delivered', {}, differing, 0, null],
    ['the first contact after the delivery', { deliveredFingerprint: DESIRED }, differing, 1, null],
    ['the last allowed one', { deliveredFingerprint: DESIRED, pendingContacts: 1 }, differing, 2, null],
    ['and raises after it', { deliveredFingerprint: DESIRED, pendingContacts: 2 }, differing, 3, 'raise'],
    ['and raises once', { deliveredFingerprint: DESIRED, pendingContacts: 3 }, differing, 4, null],
    [
      'anew when other settings were delivered',
      { deliveredFingerprint: NEWER, pendingContacts: 9 },
      differing,
      0,
      'resolve',
    ],
    ['no more when they are applied', { deliveredFingerprint: DESIRED, pendingContacts: 9 }, {}, 0, 'resolve'],
  ];
  for (const [name, live, report, count, change] of pending)
    it(`counts pending contacts: ${name}`, () => {
      const { next, settingsPending } = accept(live, report);
      expect([next.pendingContacts, settingsPending]).to.deep.equal([count, change]);
    });

  const previousExchange = { sequence: 5, sentAt: NOW - 60_010, receivedAt: NOW - 59_980 };
  const clocks: readonly (readonly [string, Partial<LiveRow>, Partial<Report>, unknown[]])[] = [
    ['keeps the estimate without a sample', {}, {}, [0, 5, false]],
    ['takes a sample', { clockOffsetMs: 9 }, { previousExchange }, [0, 13, false]],
    [
      'ignores a sample of another exchange',
      { clockOffsetMs: 9 },
      { previousExchange: { ...previousExchange, sequence: 4 } },
      [9, 5, false],
    ],
    ['ignores a sample after a repeat', { clockOffsetMs: 9, answeredAt: null }, { previousExchange }, [9, 5, false]],
    [
      'ignores a sample that ends before it begins',
      { clockOffsetMs: 9 },
      { previousExchange: { ...previousExchange, receivedAt: NOW - 90_000 } },
      [9, 5, false],
    ],
    ['notices a fantastic clock', {}, { agentTime: 0, previousExchange }, [-NOW, null, true]],
    ['notices it once', { clockOffsetMs: -NOW }, { agentTime: 0 }, [-NOW, null, false]],
    ['notices its end', { clockOffsetMs: -NOW }, { agentTime: NOW + 20, previousExchange }, [20, null, false]],
  ];
  for (const [name, live, report, expected] of clocks)
    it(`about the clock: ${name}`, () => {
      const { next, clock } = accept(live, report);
      expect([next.clockOffsetMs, next.clockErrorMs, clock.isNewlyFantastic]).to.deep.equal(expected);
    });
});

describe('answering a repeat', () => {
  const repeat = (live: LiveRow, effective = settings(), given = exchange()) =>
    repeatReport(live, given, { settings: effective, now: NOW });

  it('orders what remains of the wait, at least a second', () => {
    expect(repeat(row({ contactDueAt: NOW + 20_000 })).nextContactInMs).to.equal(20_000);
    expect(repeat(row({ contactDueAt: NOW - 20_000 })).nextContactInMs).to.equal(1000);
  });

  it('remembers newer settings that it carries and stores nothing when nothing is new', () => {
    const slow = settings({ fingerprint: NEWER, intervalMs: 600_000 });
    const first = repeat(row(), slow);
    expect([first.carriesSettings, first.next?.deliveredIntervalMs, first.next?.answeredAt]).to.deep.equal([
      true,
      600_000,
      null,
    ]);
    expect(first.next?.lastSeenAt).to.equal(NOW - 60_000);
    expect(repeat(first.next!, slow).next).to.equal(null);
  });
});

describe('recording gaps', () => {
  const spans = [{ from: NOW - 100_000, until: NOW - 40_000 }];
  const at = (silence: number, live: Partial<LiveRow> = {}) =>
    gapOf(row({ lastSeenAt: NOW - silence, contactDueAt: NOW - silence + 60_000, ...live }), NOW, {
      graceMs: 5000,
      spans,
    });

  it('has none up to interval and grace, and one a millisecond later', () => {
    expect(at(65_000)).to.equal(null);
    expect(at(65_001)).to.deep.include({ from: NOW - 65_001, until: NOW, intervalMs: 60_000 });
  });

  it('counts by the longest interval in force and tells how long the manager was deaf', () => {
    expect(at(300_000, { deliveredIntervalMs: 600_000 })).to.equal(null);
    expect(at(70_000)?.deafMs).to.equal(30_000);
  });

  it('has none while more was ordered, as by a manager that drained', () => {
    expect(at(85_000, { contactDueAt: NOW - 5000 })).to.equal(null);
    expect(at(85_001, { contactDueAt: NOW - 5001 })).to.deep.include({ from: NOW - 85_001 });
  });

  it('has none before the first contact', () => {
    expect(at(0, { lastSeenAt: null })).to.equal(null);
  });
});

describe('checking lanes', () => {
  const event = (sequence: number) => ({
    sequence,
    occurredAt: 0,
    kind: 'log',
    severity: 'info' as const,
    message: '',
  });
  const lane = (...sequences: number[]) => ({ lane: 'log' as const, epoch: 'e', events: sequences.map(event) });
  const refused: readonly (readonly [string, Report['lanes'], string])[] = [
    ['a lane named twice', [lane(1), lane(2)], '#/lanes/1/lane'],
    ['a sequence that stands still', [lane(1, 1)], '#/lanes/0/events/1/sequence'],
    ['a sequence that goes back', [lane(3, 2)], '#/lanes/0/events/1/sequence'],
    [
      'too many events over all lanes',
      [lane(...Array(600).keys()), { ...lane(...Array(600).keys()), lane: 'metric' }],
      '#/lanes',
    ],
  ];
  for (const [name, lanes, pointer] of refused)
    it(`refuses ${name}`, () => {
      const check = () => assertLanes(exchange({ lanes }).report);
      expect(check).to.throw(Problem).with.nested.property('facts.errors[0].pointer', pointer);
    });

  it('takes holes', () => assertLanes(exchange({ lanes: [lane(1, 5, 6)] }).report));
});
