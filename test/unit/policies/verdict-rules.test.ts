import { expect } from 'chai';
import fc from 'fast-check';
import { missDeadline } from '../../../policies/heartbeat-rules.js';
import { createLedger, type Span } from '../../../policies/listening-ledger.js';
import { judge, type Verdict, type VerdictFacts, type VerdictRules } from '../../../policies/verdict-rules.js';
import { FACTS, goodbye, killed, NEVER, RULES, S, stopped, tested } from './verdict-table.js';
import { runs } from '../../support/property-runs.js';

describe('judging a silent computer', () => {
  tested([
    {
      name: 'is online the millisecond before the first deadline',
      at: 64.999,
      is: {
        status: 'online',
        since: 0,
        reason: 'in-contact',
        missed: 0,
        offlineAt: 185,
        raised: null,
        nextChangeAt: 65,
      },
    },
    {
      name: 'is late at the first deadline',
      at: 65,
      is: {
        status: 'late',
        since: 65,
        reason: 'heartbeat-missed',
        missed: 1,
        offlineAt: 185,
        raised: null,
        nextChangeAt: 185,
      },
    },
    { name: 'is late with two misses', at: 184.999, is: { status: 'late', since: 65, missed: 2, raised: null } },
    {
      name: 'is offline at the third deadline, with an alert of that instant',
      at: 185,
      is: {
        status: 'offline',
        since: 185,
        reason: 'unknown',
        missed: 3,
        offlineAt: 185,
        raised: 185,
        nextChangeAt: NEVER,
      },
    },
    { name: 'is stamped with the deadline, however late it is judged', at: 9000, is: { since: 185, raised: 185 } },
    {
      name: 'is late, not offline, the millisecond before the deadline after a deaf span',
      at: 514.999,
      spans: killed,
      is: { status: 'late', since: 65, missed: 2, offlineAt: 515, raised: null, nextChangeAt: 515 },
    },
    { name: 'is offline at 515 after the deaf span', at: 515, spans: killed, is: { status: 'offline', raised: 515 } },
    {
      name: 'goes from online straight to offline where no miss is allowed',
      at: 64.999,
      rules: { missedAllowed: 0 },
      is: { status: 'online', offlineAt: 65, nextChangeAt: 65 },
    },
    {
      name: 'is offline at the first deadline then',
      at: 65,
      rules: { missedAllowed: 0 },
      is: { status: 'offline', raised: 65 },
    },
    {
      name: 'stays late where absence is unlimited',
      at: 1e6,
      rules: { missedAllowed: 'unlimited' },
      is: { status: 'late', since: 65, reason: 'absence-allowed', offlineAt: null, raised: null, nextChangeAt: NEVER },
    },
    {
      name: 'is offline since the rules were lowered, where that was later than the deadline',
      at: 300,
      facts: { rulesSince: 250 * S },
      rules: { missedAllowed: 0 },
      is: { status: 'offline', since: 250, offlineAt: 250, raised: 250 },
    },
    {
      name: 'is late since the rules were raised, where it was offline before',
      at: 300,
      facts: { rulesSince: 250 * S },
      rules: { missedAllowed: 9 },
      is: { status: 'late', since: 250, offlineAt: 605, raised: null },
    },
    {
      name: 'is offline at its deadline under older rules',
      at: 300,
      facts: { rulesSince: 100 * S },
      is: { since: 185, raised: 185 },
    },
  ]);
});

describe('judging a computer never seen or revoked', () => {
  tested([
    {
      name: 'is pending for ever and never alerts, not even for a power state or a goodbye',
      at: 1e6,
      facts: { everSeen: false, ...stopped(5), ...goodbye('uninstall') },
      is: {
        status: 'pending',
        since: 0,
        reason: 'never-seen',
        missed: 0,
        offlineAt: null,
        raised: null,
        nextChangeAt: NEVER,
      },
    },
    {
      name: 'is revoked over all',
      at: 1e6,
      facts: { revokedAt: 7 * S, ...stopped(5), ...goodbye('uninstall') },
      is: { status: 'revoked', since: 7, reason: 'revoked', offlineAt: null, raised: null, nextChangeAt: NEVER },
    },
  ]);
});

describe('judging after a goodbye', () => {
  tested([
    {
      name: 'explains a shutdown at the normal deadline',
      at: 185,
      facts: goodbye('shutdown', 9000),
      is: { status: 'offline', raised: 185, because: 'goodbye-shutdown' },
    },
    {
      name: 'explains a suspension',
      at: 185,
      facts: goodbye('suspended'),
      is: { raised: 185, reason: 'suspended', because: 'suspended' },
    },
    {
      name: 'explains lateness too',
      at: 65,
      facts: goodbye('restart'),
      is: { status: 'late', since: 65, reason: 'goodbye-restart' },
    },
    {
      name: 'extends an announced restart',
      at: 199.999,
      facts: goodbye('restart', 200),
      is: { status: 'late', offlineAt: 200, nextChangeAt: 200 },
    },
    {
      name: 'alerts at the end of the extension',
      at: 200,
      facts: goodbye('restart', 200),
      is: { status: 'offline', raised: 200, because: 'goodbye-restart' },
    },
    {
      name: 'extends an update by the tolerance at most',
      at: 300,
      facts: goodbye('update', 9000),
      is: { raised: 300, because: 'goodbye-update' },
    },
    {
      name: 'takes the tolerance where no duration is announced',
      at: 299,
      facts: goodbye('restart'),
      is: { offlineAt: 300, raised: null },
    },
    { name: 'never shortens the normal deadline', at: 185, facts: goodbye('restart', 10), is: { raised: 185 } },
    {
      name: 'counts the extension in listening time',
      at: 500,
      spans: killed,
      facts: goodbye('restart', 300),
      is: { offlineAt: 630 },
    },
    {
      name: 'raises at once for an uninstall',
      at: 0,
      facts: goodbye('uninstall'),
      is: { status: 'offline', since: 0, offlineAt: 0, raised: 0, because: 'goodbye-uninstall', missed: 0 },
    },
    {
      name: 'raises at once for an uninstall even when unlimited',
      at: 10,
      facts: goodbye('uninstall'),
      rules: { missedAllowed: 'unlimited' },
      is: { status: 'offline', raised: 0 },
    },
    {
      name: 'forgets a goodbye after a later report',
      at: 190,
      facts: { ...goodbye('uninstall'), lastSeenAt: 1, contactDueAt: 52 * S },
      is: { status: 'offline', raised: 185.001, because: 'unknown' },
    },
    {
      name: 'does not extend an absence that is unlimited',
      at: 1000,
      facts: goodbye('restart', 200),
      rules: { missedAllowed: 'unlimited' },
      is: { status: 'late', reason: 'absence-allowed', offlineAt: null },
    },
  ]);
});

describe('judging a stopped machine', () => {
  const alerting = { offlineAlertForStoppedVm: true };
  tested([
    {
      name: 'is stopped at once',
      at: 10,
      facts: stopped(10),
      is: { status: 'stopped', since: 10, reason: 'power-stopped', offlineAt: null, raised: null, nextChangeAt: NEVER },
    },
    {
      name: 'is not stopped before',
      at: 9.999,
      facts: stopped(10),
      is: { status: 'online', offlineAt: 185, nextChangeAt: 10 },
    },
    {
      name: 'raises nothing at the deadline',
      at: 185,
      facts: stopped(10),
      is: { status: 'stopped', raised: null, missed: 3 },
    },
    {
      name: 'raises at the deadline where the policy asks for it, and stays stopped',
      at: 185,
      facts: stopped(10),
      rules: alerting,
      is: { status: 'stopped', since: 10, offlineAt: 185, raised: 185, because: 'power-stopped' },
    },
    {
      name: 'waits for that deadline',
      at: 100,
      facts: stopped(10),
      rules: alerting,
      is: { status: 'stopped', raised: null, nextChangeAt: 185 },
    },
    {
      name: 'is no longer stopped at the expiry, and the alert is stamped with it',
      at: 500,
      facts: stopped(10, 500),
      is: { status: 'offline', since: 500, offlineAt: 500, raised: 500, because: 'unknown' },
    },
    {
      name: 'is stopped until then',
      at: 499.999,
      facts: stopped(10, 500),
      is: { status: 'stopped', offlineAt: 500, raised: null, nextChangeAt: 500 },
    },
    {
      name: 'is online at an expiry before its deadlines',
      at: 20,
      facts: stopped(10, 20),
      is: { status: 'online', since: 20, offlineAt: 185, nextChangeAt: 65 },
    },
    {
      name: 'keeps the alert of the deadline over the expiry where the policy asked for it',
      at: 500,
      facts: stopped(10, 500),
      rules: alerting,
      is: { status: 'offline', since: 500, raised: 185 },
    },
    {
      name: 'counts the end of a stop by hand like an expiry',
      at: 500,
      facts: { power: { state: 'running', since: 400 * S, expiresAt: null } },
      is: { status: 'offline', since: 400, raised: 400 },
    },
    {
      name: 'is running after a report',
      at: 20,
      facts: { ...stopped(10), lastSeenAt: 15 * S },
      is: { status: 'online', since: 15 },
    },
    {
      name: 'is stamped with the edit that asked for an alert',
      at: 500,
      facts: { ...stopped(10), rulesSince: 300 * S },
      rules: alerting,
      is: { status: 'stopped', raised: 300 },
    },
    {
      name: 'keeps the alert of an uninstall',
      at: 10,
      facts: { ...goodbye('uninstall'), ...stopped(5) },
      is: { status: 'stopped', since: 5, raised: 0, because: 'goodbye-uninstall' },
    },
  ]);
});

const instant = fc.nat(400).map((second) => second * S);
const anyFacts: fc.Arbitrary<VerdictFacts> = fc.record({
  everSeen: fc.constant(true),
  lastSeenAt: fc.nat(50).map((second) => second * S),
  contactDueAt: fc.nat(100).map((second) => second * S),
  intervalMs: fc.integer({ min: 5, max: 60 }).map((second) => second * S),
  dials: fc.option(
    fc.record({
      failed: fc.array(
        fc
          .record({ begun: fc.nat(400), length: fc.nat(12) })
          .map(({ begun, length }) => ({ begunAt: begun * S, endedAt: (begun + length) * S })),
        { maxLength: 6 },
      ),
      reason: fc.option(fc.constantFrom('refused', 'timeout')),
    }),
  ),
  goodbye: fc.option(
    fc.record({
      reason: fc.constantFrom('shutdown', 'restart', 'update', 'uninstall', 'suspended'),
      receivedAt: fc.nat(80).map((second) => second * S),
      expectedBackMs: fc.option(instant),
    }),
  ),
  power: fc.record({
    state: fc.constantFrom('running', 'stopped', 'unknown'),
    since: instant,
    expiresAt: fc.option(instant),
  }),
  revokedAt: fc.constant(null),
  rulesSince: instant,
});
const anyRules: fc.Arbitrary<VerdictRules> = fc.record({
  missedAllowed: fc.constantFrom<VerdictRules['missedAllowed'][]>(0, 1, 3, 'unlimited'),
  graceMs: fc.nat(5).map((second) => second * S),
  offlineAlertForStoppedVm: fc.boolean(),
  goodbyeToleranceMs: instant,
});
const anySpans = fc.array(
  fc
    .record({ from: fc.nat(150), length: fc.nat(40) })
    .map(({ from, length }) => ({ from: from * S, until: (from + length) * S })),
  { maxLength: 5 },
);
const anyQuestion = fc
  .record({ facts: anyFacts, rules: anyRules, spans: anySpans })
  .map(({ facts, rules, spans }) => ({ facts, rules, ledger: createLedger(spans) }));

const withoutCounts = ({ missed: _missed, nextChangeAt: _next, dialNeededFrom: _dial, ...answer }: Verdict): unknown =>
  answer;

describe('verdicts', () => {
  it('do not change before nextChangeAt, and do change at it', () => {
    fc.assert(
      fc.property(anyQuestion, instant, (question, at) => {
        const present = judge(question, at);
        const { nextChangeAt } = present;
        const end = Math.min(nextChangeAt, 4000 * S);
        expect(nextChangeAt).to.be.greaterThan(at);
        for (let probe = at; probe < end; probe += Math.max(500, (end - at) / 25)) {
          const later = judge(question, probe);
          expect(withoutCounts(later)).to.deep.equal(withoutCounts(present));
          expect(later.nextChangeAt).to.equal(nextChangeAt);
        }
        if (nextChangeAt === NEVER) return;
        expect(withoutCounts(judge(question, nextChangeAt - 1))).to.deep.equal(withoutCounts(present));
        expect(withoutCounts(judge(question, nextChangeAt))).not.to.deep.equal(withoutCounts(present));
      }),
      runs(500),
    );
  }).timeout(60_000);

  it('raise the alert at offlineAt, never before a deadline but for an uninstall, and never twice', () => {
    fc.assert(
      fc.property(anyQuestion, instant, (question, at) => {
        const { alert, offlineAt, status, since } = judge(question, at);
        expect(since).to.be.at.most(Math.max(at, question.facts.lastSeenAt));
        if (status === 'offline') expect(alert).not.to.equal(null);
        if (status === 'online' || status === 'late') expect(alert).to.equal(null);
        if (!alert) return;
        expect(alert.raisedAt).to.equal(offlineAt);
        expect(alert.raisedAt).to.be.at.most(at);
        const { missedAllowed, graceMs } = question.rules;
        const allowed = missedAllowed === 'unlimited' ? NEVER : missedAllowed;
        if (alert.reason !== 'goodbye-uninstall')
          expect(alert.raisedAt).to.be.at.least(
            missDeadline(allowed + 1, question.facts, { graceMs, ledger: question.ledger }),
          );
      }),
      runs(2000),
    );
  });

  it('a verdict looks at a logarithmic number of deaf spans', () => {
    for (const count of [256, 16_384]) {
      let looks = 0;
      const spans = Array.from({ length: count }, (_, index): Span => {
        const bound = (at: number) => ({ enumerable: true, get: () => ((looks += 1), at) });
        const span = { from: bound(index * 60 * S), until: bound(index * 60 * S + 9 * S) };
        return Object.defineProperties({}, span) as Span;
      });
      const ledger = createLedger(spans);
      for (let index = 0; index < count; index += count / 64) {
        const lastSeenAt = index * 60 * S + 20 * S;
        const facts = { ...FACTS, lastSeenAt, contactDueAt: lastSeenAt + 52 * S };
        looks = 0;
        expect(judge({ facts, rules: RULES, ledger }, 1e12).status).to.equal('offline');
        expect(looks)
          .to.be.greaterThan(0)
          .and.at.most(32 * Math.log2(count));
      }
    }
  });
});
