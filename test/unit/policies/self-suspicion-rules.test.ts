import { expect } from 'chai';
import fc from 'fast-check';
import {
  isHolding,
  isSuspicious,
  onCensus,
  onCheck,
  onTime,
  PATIENCE_MS,
  standingOf,
  UNSUSPECTING,
  windowOf,
  type Census,
  type Silence,
  type Standing,
  type Suspicion,
} from '../../../policies/self-suspicion-rules.js';

const WINDOW = windowOf(60_000);
const census = (inContact: number, falling: number, fallen = 0): Census => ({
  'in-contact': inContact,
  falling,
  fallen,
  lostAt: 400,
});

describe('self-suspicion', () => {
  const standings: [string, Silence, Standing][] = [
    ['in contact', { status: 'online', isOverdue: false, silentForMs: 1 }, 'in-contact'],
    ['in contact for however long', { status: 'online', isOverdue: false, silentForMs: WINDOW + 1 }, 'in-contact'],
    ['overdue', { status: 'online', isOverdue: true, silentForMs: 65_000 }, 'falling'],
    ['overdue at the end of the window', { status: 'online', isOverdue: true, silentForMs: WINDOW }, 'falling'],
    ['overdue for long', { status: 'online', isOverdue: true, silentForMs: WINDOW + 1 }, 'uncounted'],
    ['late', { status: 'late', isOverdue: false, silentForMs: 65_000 }, 'fallen'],
    ['offline', { status: 'offline', isOverdue: false, silentForMs: WINDOW }, 'fallen'],
    ['late for long', { status: 'late', isOverdue: false, silentForMs: WINDOW + 1 }, 'uncounted'],
    ['offline for long', { status: 'offline', isOverdue: true, silentForMs: WINDOW + 1 }, 'uncounted'],
    ['stopped', { status: 'stopped', isOverdue: true, silentForMs: 1 }, 'uncounted'],
    ['never seen', { status: 'pending', isOverdue: false, silentForMs: 0 }, 'uncounted'],
    ['revoked', { status: 'revoked', isOverdue: false, silentForMs: 0 }, 'uncounted'],
  ];
  for (const [what, silence, standing] of standings)
    it(`counts a computer that is ${what} as ${standing}`, () => {
      expect(standingOf(silence, WINDOW)).to.equal(standing);
    });

  it('has a window in which a whole fleet falls silent, and its last interval', () => {
    expect(windowOf(60_000)).to.equal(240_000);
    expect(windowOf(0)).to.equal(60_000);
  });

  const shares: [Census, boolean][] = [
    [census(0, 10), true],
    [census(0, 9), false],
    [census(1, 9), true],
    [census(1, 8, 1), true],
    [census(1, 0, 9), true],
    [census(2, 8), false],
    [census(10, 90), true],
    [census(11, 89), false],
    [census(100_000, 900_000), true],
    [census(0, 0), false],
  ];
  for (const [counted, expected] of shares)
    it(`${expected ? 'doubts itself' : 'believes'} at ${JSON.stringify(counted)}`, () => {
      expect(isSuspicious(counted)).to.equal(expected);
    });

  const checking: Suspicion = { phase: 'checking', since: 1000, lostAt: 400, counted: 100 };
  const broken: Suspicion = {
    phase: 'broken',
    since: 1000,
    lostAt: 400,
    counted: 100,
    fault: 'agent port: connect ECONNREFUSED',
  };
  const believed: Suspicion = { phase: 'believed', since: 5000, counted: 100, by: 'check' };

  it('checks its path before it believes', () => {
    expect(onCensus(UNSUSPECTING, census(0, 100), 1000)).to.deep.equal(checking);
    expect(onCensus(UNSUSPECTING, census(50, 50), 1000)).to.equal(UNSUSPECTING);
  });

  it('believes when the path works, and holds while it does not', () => {
    expect(onCheck(checking, null, 5000)).to.deep.equal(believed);
    expect(onCheck(checking, 'agent port: connect ECONNREFUSED', 5000)).to.deep.equal(broken);
    expect(onCheck(broken, 'database: failed', 7000)).to.deep.equal({ ...broken, fault: 'database: failed' });
    expect(onCheck(broken, null, 5000)).to.deep.equal(believed);
    expect(onCheck(checking, undefined, 5000)).to.equal(checking);
    expect(onCheck(broken, undefined, 5000)).to.equal(broken);
  });

  it('lets a late answer change nothing', () => {
    for (const answer of [null, 'database: failed']) {
      expect(onCheck(UNSUSPECTING, answer, 9000)).to.equal(UNSUSPECTING);
      expect(onCheck(believed, answer, 9000)).to.equal(believed);
    }
  });

  it('goes on after its patience, not before', () => {
    for (const holding of [checking, broken]) {
      expect(onTime(holding, { at: 1000 + PATIENCE_MS - 1, heard: 0 })).to.equal(holding);
      expect(onTime(holding, { at: 1000 + PATIENCE_MS, heard: 0 })).to.deep.equal({
        phase: 'believed',
        since: 1000 + PATIENCE_MS,
        counted: 100,
        by: 'patience',
      });
    }
  });

  it('doubts again only after more than a tenth were heard', () => {
    expect(onCensus(believed, census(0, 100), 9000)).to.equal(believed);
    expect(onTime(believed, { at: 1_000_000, heard: 10 })).to.equal(believed);
    expect(onTime(believed, { at: 6000, heard: 11 })).to.equal(UNSUSPECTING);
    expect(onTime(UNSUSPECTING, { at: 6000, heard: 100 })).to.equal(UNSUSPECTING);
  });

  it('never holds for longer than its patience, whatever is found and counted, and never a fleet below ten', () => {
    const step = fc.record({
      afterMs: fc.integer({ min: 0, max: 30_000 }),
      counted: fc.tuple(fc.nat(30), fc.nat(30), fc.nat(30)),
      answer: fc.option(fc.constantFrom('ok', 'database: failed')),
      heard: fc.nat(3),
    });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        let suspicion = UNSUSPECTING;
        let at = 0;
        for (const { afterMs, counted, answer, heard } of steps) {
          at += afterMs;
          const counts = census(...counted);
          suspicion = onTime(suspicion, { at, heard });
          const before = suspicion;
          suspicion = onCensus(suspicion, counts, at);
          const small = counted[0] + counted[1] + counted[2] < 10;
          if (small) expect(suspicion).to.equal(before);
          if (answer !== null) suspicion = onCheck(suspicion, answer === 'ok' ? null : answer, at);
          if (isHolding(suspicion)) expect(at - suspicion.since).to.be.below(PATIENCE_MS);
        }
      }),
    );
  });

  it('asks for nine tenths of those it counts, never more nor fewer', () => {
    fc.assert(
      fc.property(fc.nat(5000), fc.nat(5000), fc.nat(5000), (inContact, falling, fallen) => {
        const all = inContact + falling + fallen;
        expect(isSuspicious(census(inContact, falling, fallen))).to.equal(
          all >= 10 && (falling + fallen) * 10 >= all * 9,
        );
      }),
    );
  });
});
