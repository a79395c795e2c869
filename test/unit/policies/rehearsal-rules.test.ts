import { expect } from 'chai';
import fc from 'fast-check';
import { createLedger, type Span } from '../../../policies/listening-ledger.js';
import {
  alertOfPresent,
  alertOfSilence,
  caveatsOfSilence,
  caveatsOfThresholds,
  CAVEATS,
  excusesOf,
  isRehearsed,
  NO_EXCUSES,
  REHEARSED_KEYS,
  shortestAlertedMs,
  type Excuses,
  type Thresholds,
} from '../../../policies/rehearsal-rules.js';
import type { VerdictRules } from '../../../policies/verdict-rules.js';
import { referenceDeadline } from './reference-deadline.js';
import { FACTS, RULES, S } from './verdict-table.js';

const thresholds = (intervalS: number, rules: Partial<VerdictRules> = {}): Thresholds => ({
  intervalMs: intervalS * S,
  rules: { ...RULES, ...rules },
});
const NORMAL = thresholds(60);
const spanOf = ([from, until]: readonly [number, number]): Span => ({ from: from * S, until: until * S });

interface Row {
  readonly name: string;
  /** Begin and end in seconds; contact was due after the interval. */
  readonly silence: readonly [from: number, until: number, intervalS?: number];
  readonly by?: Thresholds;
  readonly excuses?: Partial<Excuses>;
  readonly deaf?: readonly (readonly [number, number])[];
  /** When it is raised, in seconds, and whether it ends within one interval. */
  readonly is: readonly [raised: number, isFlash: boolean] | null;
}

const stops = (...times: readonly (readonly [number, number])[]): Pick<Excuses, 'stops'> => ({
  stops: times.map(spanOf),
});
const NEVER = Number.POSITIVE_INFINITY;

describe('the alert of a recorded silence', () => {
  const table: readonly Row[] = [
    { name: 'is none where the report came at the deadline', silence: [1000, 1185], is: null },
    { name: 'is raised at the deadline and was short', silence: [1000, 1185.001], is: [1185, true] },
    { name: 'was short up to one interval', silence: [1000, 1245], is: [1185, true] },
    { name: 'was not short beyond one interval', silence: [1000, 1245.001], is: [1185, false] },
    { name: 'is short by the interval that is rehearsed', silence: [0, 600], by: thresholds(120), is: [365, false] },
    {
      name: 'comes after one miss where none is allowed',
      silence: [0, 70],
      by: thresholds(60, { missedAllowed: 0 }),
      is: [65, true],
    },
    {
      name: 'is none where any number is allowed',
      silence: [0, 90_000],
      by: thresholds(60, { missedAllowed: 'unlimited' }),
      is: null,
    },
    { name: 'counts grace', silence: [0, 300], by: thresholds(60, { graceMs: 100 * S }), is: [280, true] },
    {
      name: 'of a shorter interval counts from the recorded due time',
      silence: [0, 500, 300],
      by: thresholds(60),
      is: [425, false],
    },
    { name: 'of a shorter interval is none for a late report', silence: [0, 310, 300], by: thresholds(60), is: null },
    {
      name: 'of a longer interval counts from the receipt',
      silence: [0, 500, 30],
      by: thresholds(100),
      is: [305, false],
    },
    { name: 'leaves out the time in which nobody listened', silence: [0, 600], deaf: [[100, 300]], is: [385, false] },
    { name: 'waits for a return after deaf time', silence: [0, 600], deaf: [[20, 380]], is: [545, true] },
    { name: 'is none where the return came in time', silence: [0, 440], deaf: [[20, 380]], is: null },
    { name: 'waits for an announced restart', silence: [0, 400], excuses: { goodbye: 'restart' }, is: [300, false] },
    {
      name: 'waits for an announced update by the rehearsed tolerance',
      silence: [0, 1000],
      excuses: { goodbye: 'update' },
      by: thresholds(60, { goodbyeToleranceMs: 700 * S }),
      is: [700, false],
    },
    { name: 'does not wait for a shutdown', silence: [0, 400], excuses: { goodbye: 'shutdown' }, is: [185, false] },
    {
      name: 'comes at once before an uninstallation',
      silence: [0, 100],
      excuses: { goodbye: 'uninstall' },
      is: [0, false],
    },
    {
      name: 'is none of a machine that was stopped all the while',
      silence: [0, 5000],
      excuses: stops([10, NEVER]),
      is: null,
    },
    { name: 'comes when the stop is over', silence: [0, 5000], excuses: stops([10, 400]), is: [400, false] },
    {
      name: 'came before a stop that was said too late',
      silence: [0, 5000],
      excuses: stops([186, NEVER]),
      is: [185, false],
    },
    { name: 'did not come where the stop began with it', silence: [0, 5000], excuses: stops([185, NEVER]), is: null },
    { name: 'comes between two stops', silence: [0, 5000], excuses: stops([10, 400], [600, NEVER]), is: [400, false] },
    {
      name: 'does not come between stops that touch',
      silence: [0, 5000],
      excuses: stops([10, 400], [400, 900]),
      is: [900, false],
    },
    {
      name: 'did not come where the report came as the stop ended',
      silence: [0, 400],
      excuses: stops([10, 400]),
      is: null,
    },
    {
      name: 'comes for a stopped machine where that is wished for',
      silence: [0, 5000],
      excuses: stops([10, NEVER]),
      by: thresholds(60, { offlineAlertForStoppedVm: true }),
      is: [185, false],
    },
  ];
  for (const { name, silence, by = NORMAL, excuses = {}, deaf = [], is } of table)
    it(name, () => {
      const [from, until, intervalS = 60] = silence;
      const given = {
        from: from * S,
        until: until * S,
        intervalMs: intervalS * S,
        excuses: { ...NO_EXCUSES, ...excuses },
      };
      const alert = alertOfSilence(given, by, createLedger(deaf.map(spanOf)));
      expect(alert && [alert.raisedAt / S, alert.isFlash]).to.deep.equal(is);
    });

  it('comes at the deadline of the design, second by second, whatever the deaf times', () => {
    const HORIZON = 1500;
    const situation = fc.record({
      from: fc.integer({ min: 0, max: 60 }),
      length: fc.integer({ min: 1, max: 500 }),
      recorded: fc.constantFrom(30, 60, 90),
      interval: fc.constantFrom(20, 60, 90),
      allowed: fc.integer({ min: 0, max: 3 }),
      grace: fc.constantFrom(0, 5),
      deaf: fc.array(fc.tuple(fc.integer({ min: 0, max: 400 }), fc.integer({ min: 1, max: 80 })), { maxLength: 4 }),
    });
    fc.assert(
      fc.property(situation, ({ from, length, recorded, interval, allowed, grace, deaf }) => {
        const spans = deaf.map(([begin, seconds]) => spanOf([begin, begin + seconds]));
        const until = from + length;
        const by = thresholds(interval, { missedAllowed: allowed, graceMs: grace * S });
        const silence = { from: from * S, until: until * S, intervalMs: recorded * S, excuses: NO_EXCUSES };
        const deadline = referenceDeadline(
          allowed + 1,
          {
            spans,
            lastSeenAt: from * S,
            contactDueAt: (from + recorded) * S,
            intervalMs: interval * S,
            graceMs: grace * S,
          },
          HORIZON,
        );
        const isFlash = until * S - deadline <= interval * S;
        const expected = deadline < until * S ? { raisedAt: deadline, isFlash } : null;
        expect(alertOfSilence(silence, by, createLedger(spans))).to.deep.equal(expected);
        const longest = shortestAlertedMs(by);
        if (expected) expect(until * S - from * S).to.be.greaterThan(longest);
      }),
      { numRuns: 300 },
    );
  });
});

describe('the alert of a computer that is silent still', () => {
  const at = (by: Thresholds, seconds: number, facts: Partial<typeof FACTS> = {}) =>
    alertOfPresent({ ...FACTS, ...facts }, by, { ledger: createLedger([]), at: seconds * S });

  it('is raised by the rehearsed thresholds, as if they had always counted', () => {
    expect(at(NORMAL, 184.999, { rulesSince: 500 * S })).to.equal(null);
    expect(at(NORMAL, 185, { rulesSince: 500 * S })).to.equal(185 * S);
    expect(at(thresholds(60, { missedAllowed: 4 }), 1000)).to.equal(305 * S);
    expect(at(thresholds(20), 1000)).to.equal(97 * S);
  });

  it('is none of a computer that may be silent', () => {
    expect(at(thresholds(60, { missedAllowed: 'unlimited' }), 1e6)).to.equal(null);
    expect(at(NORMAL, 1e6, { power: { state: 'stopped', since: 10 * S, expiresAt: null } })).to.equal(null);
    expect(at(NORMAL, 1e6, { everSeen: false })).to.equal(null);
  });
});

describe('what the status history excuses', () => {
  const history = (text: string) =>
    text.split(', ').map((row) => {
      const [status = '', reason = '', since = ''] = row.split(' ');
      return { status, reason, since: Number(since) * S };
    });

  it('is nothing where nothing was said', () => {
    expect(excusesOf([])).to.deep.equal(NO_EXCUSES);
    expect(excusesOf(history('late heartbeat-missed 65, offline unknown 185'))).to.deep.equal(NO_EXCUSES);
  });

  it('are stops, each up to the next status', () => {
    const said = 'late heartbeat-missed 65, stopped power-stopped 70, offline unknown 300, stopped power-stopped 400';
    expect(excusesOf(history(said)).stops).to.deep.equal([spanOf([70, 300]), spanOf([400, NEVER])]);
  });

  it('are stops that flags do not part', () => {
    const said = 'stopped power-stopped 70, stopped isolated 100, stopped isolated-ended 120, online in-contact 300';
    expect(excusesOf(history(said)).stops).to.deep.equal([spanOf([70, 300])]);
  });

  it('are goodbyes, the first of which counts', () => {
    expect(excusesOf(history('late goodbye-restart 65, offline goodbye-update 300')).goodbye).to.equal('restart');
    expect(excusesOf(history('offline goodbye-uninstall 0')).goodbye).to.equal('uninstall');
    expect(excusesOf(history('late suspended 65')).goodbye).to.equal('suspended');
  });
});

describe('what can be rehearsed, and what recorded gaps cannot tell', () => {
  it('is what offline alerts rest on', () => {
    expect([...REHEARSED_KEYS].every(isRehearsed)).to.equal(true);
    expect(REHEARSED_KEYS).to.have.members([
      'heartbeatIntervalSeconds',
      'heartbeatsMissedAllowed',
      'heartbeatGraceSeconds',
      'offlineAlertForStoppedVm',
      'goodbyeToleranceSeconds',
    ]);
    expect(isRehearsed('listenerPort')).to.equal(false);
    for (const detail of Object.values(CAVEATS)) expect(detail).to.match(/^[A-Z].{40,}\.$/);
  });

  it('no silence up to the first possible deadline raises an alert', () => {
    expect(shortestAlertedMs(NORMAL)).to.equal(185 * S);
    expect(shortestAlertedMs(thresholds(10, { missedAllowed: 0, graceMs: 0 }))).to.equal(10 * S);
    expect(shortestAlertedMs(thresholds(10, { missedAllowed: 'unlimited' }))).to.equal(NEVER);
  });

  const caveats: readonly (readonly [
    name: string,
    present: Thresholds,
    rehearsed: Thresholds,
    is: readonly string[],
  ])[] = [
    ['nothing of the settings in force', NORMAL, NORMAL, []],
    ['nothing of milder ones', NORMAL, thresholds(60, { missedAllowed: 5 }), []],
    ['goodbyes of stricter ones', NORMAL, thresholds(60, { missedAllowed: 1 }), ['goodbyes-partly-known']],
    ['goodbyes of a smaller tolerance', NORMAL, thresholds(60, { goodbyeToleranceMs: 0 }), ['goodbyes-partly-known']],
    ['nothing of a longer tolerance', NORMAL, thresholds(60, { goodbyeToleranceMs: 301 * S }), []],
    [
      'silences that were too short to be recorded',
      NORMAL,
      thresholds(20, { missedAllowed: 2, graceMs: 4 * S }),
      ['shorter-than-recorded', 'goodbyes-partly-known'],
    ],
    ['nothing of those just long enough', NORMAL, thresholds(20), ['goodbyes-partly-known']],
    [
      'less grace than recorded where no miss is allowed',
      thresholds(60, { missedAllowed: 0 }),
      thresholds(60, { missedAllowed: 0, graceMs: 0 }),
      ['shorter-than-recorded', 'goodbyes-partly-known'],
    ],
  ];
  for (const [name, present, rehearsed, is] of caveats)
    it(`names ${name}`, () => expect(caveatsOfThresholds({ present, rehearsed })).to.deep.equal(is));

  it('names an interval that differs from the recorded one', () => {
    expect(caveatsOfSilence({ intervalMs: 60 * S }, thresholds(60))).to.deep.equal([]);
    expect(caveatsOfSilence({ intervalMs: 61 * S }, thresholds(60))).to.deep.equal(['shorter-interval']);
    expect(caveatsOfSilence({ intervalMs: 59 * S }, thresholds(60))).to.deep.equal(['longer-interval']);
  });
});
