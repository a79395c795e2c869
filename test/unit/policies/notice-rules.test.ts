import { expect } from 'chai';
import fc from 'fast-check';
import { createLedger } from '../../../policies/listening-ledger.js';
import {
  decideNotice,
  HOLDS,
  settledFrom,
  TOLD,
  type NoticeDecision,
  type NoticeFacts,
} from '../../../policies/notice-rules.js';
import { runs } from '../../support/property-runs.js';

const AT = 1_000_000;
const NO_WINDOW = { until: null, nextAt: null };
const FACTS: NoticeFacts = {
  state: 'raised',
  raisedAt: AT - 500_000,
  incidentId: null,
  snoozedUntil: null,
  gatheredWithinMs: null,
  maintenance: NO_WINDOW,
  flapping: null,
  settledAt: AT,
  returnMs: 0,
  isJustAcknowledged: false,
  last: null,
};
const last = (
  told: 'nothing' | 'open' | 'closed',
  heldBy: (typeof HOLDS)[number] | null = null,
  lookAt: number | null = null,
) => ({ told, heldBy, lookAt });
const decision = (
  tell: NoticeDecision['tell'],
  told: NoticeDecision['told'],
  [heldBy, lookAt]: readonly [NoticeDecision['heldBy'], number | null] = [null, null],
): NoticeDecision => ({ tell, told, heldBy, lookAt });

describe('what recipients are told of an alert', () => {
  const table: readonly (readonly [string, Partial<NoticeFacts>, NoticeDecision])[] = [
    ['tells a new one', {}, decision('raised', 'open')],
    ['tells it once', { last: last('open') }, decision(null, 'open')],
    ['tells its end', { state: 'resolved', last: last('open') }, decision('resolved', 'closed')],
    ['tells that it was dismissed', { state: 'dismissed', last: last('open') }, decision('dismissed', 'closed')],
    ['tells its end once', { state: 'resolved', last: last('closed') }, decision(null, 'closed')],
    ['tells nothing of what came and went', { state: 'resolved' }, decision(null, 'nothing')],
    ['nor of what was dismissed untold', { state: 'dismissed', last: last('nothing') }, decision(null, 'nothing')],
    [
      'tells an acknowledgement',
      { state: 'acknowledged', isJustAcknowledged: true, last: last('open') },
      decision('acknowledged', 'open'),
    ],
    ['tells it once', { state: 'acknowledged', last: last('open') }, decision(null, 'open')],
    [
      'tells the end and not the acknowledgement of what is over',
      { state: 'resolved', isJustAcknowledged: true, last: last('open') },
      decision('resolved', 'closed'),
    ],
    [
      'tells nothing of what somebody has in hand already',
      { state: 'acknowledged', isJustAcknowledged: true },
      decision(null, 'nothing'),
    ],
    [
      'says nothing of an acknowledgement that was taken back by a reopening in the meantime',
      { state: 'raised', isJustAcknowledged: true, last: last('open') },
      decision(null, 'open'),
    ],
    [
      'looks again when the next window begins',
      { maintenance: { until: null, nextAt: AT + 7 }, last: last('open') },
      decision(null, 'open', [null, AT + 7]),
    ],
    [
      'looks again then at an acknowledged one, too',
      { state: 'acknowledged', maintenance: { until: null, nextAt: AT + 7 }, last: last('open') },
      decision(null, 'open', [null, AT + 7]),
    ],
    [
      'and tells before it does',
      { maintenance: { until: null, nextAt: AT + 7 } },
      decision('raised', 'open', [null, AT + 7]),
    ],
    [
      'but not of what is over',
      { state: 'resolved', maintenance: { until: null, nextAt: AT + 7 }, last: last('open') },
      decision('resolved', 'closed'),
    ],
  ];
  for (const [name, facts, expected] of table)
    it(`${name} ${JSON.stringify(facts)}`.slice(0, 150), () =>
      expect(decideNotice({ ...FACTS, ...facts }, AT)).to.deep.equal(expected),
    );
});

describe('what keeps recipients from being told', () => {
  const flapping = { until: AT + 900, isTold: true };
  const table: readonly (readonly [string, Partial<NoticeFacts>, NoticeDecision])[] = [
    ['an incident, without an end', { incidentId: 'i' }, decision(null, 'nothing', ['incident', null])],
    [
      'an incident, of one told already',
      { incidentId: 'i', last: last('open') },
      decision(null, 'open', ['incident', null]),
    ],
    [
      'an incident, of an acknowledged one',
      { incidentId: 'i', state: 'acknowledged', last: last('open') },
      decision(null, 'open', ['incident', null]),
    ],
    [
      'but not the end of one that was told before',
      { incidentId: 'i', state: 'resolved', last: last('open', 'incident') },
      decision('resolved', 'closed'),
    ],
    [
      'maintenance until its end',
      { maintenance: { until: AT + 100, nextAt: null } },
      decision(null, 'nothing', ['maintenance', AT + 100]),
    ],
    [
      'maintenance, looked at every five minutes',
      { maintenance: { until: AT + 300_001, nextAt: null } },
      decision(null, 'nothing', ['maintenance', AT + 300_000]),
    ],
    [
      'maintenance, of an end too',
      { state: 'resolved', maintenance: { until: AT + 100, nextAt: null }, last: last('open') },
      decision(null, 'open', ['maintenance', AT + 100]),
    ],
    ['snoozing', { snoozedUntil: AT + 1 }, decision(null, 'nothing', ['snoozed', AT + 1])],
    ['snoozing until its instant', { snoozedUntil: AT }, decision('raised', 'open')],
    [
      'snoozing, of an acknowledgement',
      { snoozedUntil: AT + 1, state: 'acknowledged', isJustAcknowledged: true, last: last('open') },
      decision(null, 'open', ['snoozed', AT + 1]),
    ],
    ['flapping until it is calm', { flapping }, decision(null, 'nothing', ['flapping', AT + 900])],
    [
      'flapping, but for that it flaps',
      { flapping: { ...flapping, isTold: false } },
      decision('flapping', 'open', ['flapping', AT + 900]),
    ],
    [
      'flapping, but for that it flaps, at an end',
      { state: 'resolved', flapping: { ...flapping, isTold: false }, last: last('open') },
      decision('flapping', 'open', ['flapping', AT + 900]),
    ],
    [
      'flapping, of what came and went untold',
      { state: 'resolved', flapping: { ...flapping, isTold: false } },
      decision(null, 'nothing'),
    ],
    [
      'an incident before maintenance before snoozing before flapping before the hold',
      { incidentId: 'i', maintenance: { until: AT + 1, nextAt: null }, snoozedUntil: AT + 2, flapping },
      decision(null, 'nothing', ['incident', null]),
    ],
    [
      'maintenance before snoozing',
      { maintenance: { until: AT + 1, nextAt: null }, snoozedUntil: AT + 2, flapping: { ...flapping, isTold: false } },
      decision(null, 'nothing', ['maintenance', AT + 1]),
    ],
    [
      'snoozing before flapping',
      { snoozedUntil: AT + 2, flapping: { ...flapping, isTold: false } },
      decision(null, 'nothing', ['snoozed', AT + 2]),
    ],
    [
      'flapping before the hold',
      { flapping, gatheredWithinMs: 60_000, raisedAt: AT },
      decision(null, 'nothing', ['flapping', AT + 900]),
    ],
  ];
  for (const [name, facts, expected] of table)
    it(name, () => expect(decideNotice({ ...FACTS, ...facts }, AT)).to.deep.equal(expected));
});

describe('the hold in which an incident may gather an alert', () => {
  const offline = { ...FACTS, gatheredWithinMs: 60_000 };
  const table: readonly (readonly [string, Partial<NoticeFacts>, NoticeDecision])[] = [
    ['lasts an interval', { gatheredWithinMs: 30_000, raisedAt: AT }, decision(null, 'nothing', ['hold', AT + 30_000])],
    [
      'lasts a minute at most',
      { gatheredWithinMs: 90_000, raisedAt: AT },
      decision(null, 'nothing', ['hold', AT + 60_000]),
    ],
    ['counts from the deadline', { raisedAt: AT - 50_000 }, decision(null, 'nothing', ['hold', AT + 10_000])],
    ['lasts two seconds of a deadline long past', { raisedAt: 0 }, decision(null, 'nothing', ['hold', AT + 2000])],
    ['ends when it said', { raisedAt: 0, last: last('nothing', 'hold', AT) }, decision('raised', 'open')],
    [
      'goes on until then',
      { raisedAt: AT, last: last('nothing', 'hold', AT + 1) },
      decision(null, 'nothing', ['hold', AT + 1]),
    ],
    [
      'is not begun anew after another',
      { raisedAt: 0, last: last('nothing', 'snoozed', AT) },
      decision('raised', 'open'),
    ],
    [
      'counts on after another',
      { raisedAt: AT, last: last('nothing', 'snoozed', AT) },
      decision(null, 'nothing', ['hold', AT + 60_000]),
    ],
    ['is not for what is told', { raisedAt: AT, last: last('open') }, decision(null, 'open')],
    ['is not for an end', { raisedAt: AT, state: 'resolved', last: last('open') }, decision('resolved', 'closed')],
    ['is not for other types', { raisedAt: AT, gatheredWithinMs: null }, decision('raised', 'open')],
    [
      'leaves nothing of what ends inside it',
      { raisedAt: AT, state: 'resolved', last: last('nothing', 'hold', AT + 9) },
      decision(null, 'nothing'),
    ],
    [
      'does not wait for anything to settle',
      { raisedAt: 0, settledAt: AT + 5, last: last('nothing', 'hold', AT) },
      decision('raised', 'open'),
    ],
  ];
  for (const [name, facts, expected] of table)
    it(name, () => expect(decideNotice({ ...offline, ...facts }, AT)).to.deep.equal(expected));
});

describe('the end of what kept recipients from being told', () => {
  for (const heldBy of ['incident', 'maintenance', 'snoozed', 'flapping'] as const) {
    const held = (told: 'nothing' | 'open') => last(told, heldBy, AT);
    const table: readonly (readonly [string, Partial<NoticeFacts>, NoticeDecision])[] = [
      ['tells what began inside it and goes on', { last: held('nothing') }, decision('raised', 'open')],
      ['tells what ended inside it', { state: 'resolved', last: held('open') }, decision('resolved', 'closed')],
      ['tells nothing of what is as it was', { last: held('open') }, decision(null, 'open')],
      [
        'tells nothing of what came and went inside',
        { state: 'resolved', last: held('nothing') },
        decision(null, 'nothing'),
      ],
      [
        'waits until it is settled',
        { settledAt: AT + 5, last: held('nothing') },
        decision(null, 'nothing', [heldBy, AT + 5]),
      ],
      [
        'looks every ten seconds whether it is',
        { settledAt: AT + 10_001, last: held('nothing') },
        decision(null, 'nothing', [heldBy, AT + 10_000]),
      ],
      [
        'waits with an end, too',
        { settledAt: AT + 5, state: 'resolved', last: held('open') },
        decision(null, 'open', [heldBy, AT + 5]),
      ],
      ['waits with nothing that is as it was', { settledAt: AT + 5, last: held('open') }, decision(null, 'open')],
      ['tells at the instant it is settled', { settledAt: AT, last: held('nothing') }, decision('raised', 'open')],
    ];
    for (const [name, facts, expected] of table)
      it(`${name}: ${heldBy}`, () => expect(decideNotice({ ...FACTS, ...facts }, AT)).to.deep.equal(expected));
  }

  const returning: readonly (readonly [string, Partial<NoticeFacts>, NoticeDecision])[] = [
    [
      'waits as long as the others that were cut off may take to be back',
      { last: last('nothing', 'incident') },
      decision(null, 'nothing', ['incident', AT + 25]),
    ],
    [
      'goes on waiting whatever else happens to it',
      { last: last('nothing', 'incident', AT + 1) },
      decision(null, 'nothing', ['incident', AT + 1]),
    ],
    ['tells then', { last: last('nothing', 'incident', AT) }, decision('raised', 'open')],
    ['tells an end at once', { state: 'resolved', last: last('open', 'incident') }, decision('resolved', 'closed')],
    ['does so after nothing else', { last: last('nothing', 'maintenance', AT - 9) }, decision('raised', 'open')],
  ];
  for (const [name, facts, expected] of returning)
    it(`${name}: an incident that let it go`, () =>
      expect(decideNotice({ ...FACTS, returnMs: 25, ...facts }, AT)).to.deep.equal(expected));

  it('settles at once where nothing kept it', () =>
    expect(decideNotice({ ...FACTS, settledAt: AT + 5, last: last('nothing') }, AT)).to.deep.equal(
      decision('raised', 'open'),
    ));
});

describe('any sequence of decisions', () => {
  const states = fc.constantFrom('raised', 'acknowledged', 'resolved', 'dismissed');
  const instant = fc.integer({ min: -5, max: 5 }).map((offset) => AT + offset);
  const nullable = <T>(arbitrary: fc.Arbitrary<T>) => fc.option(arbitrary, { nil: null });
  const facts: fc.Arbitrary<NoticeFacts> = fc.record({
    state: states,
    raisedAt: instant,
    incidentId: nullable(fc.constant('i')),
    snoozedUntil: nullable(instant),
    gatheredWithinMs: nullable(fc.constant(3)),
    maintenance: fc.record({ until: nullable(fc.constant(AT + 3)), nextAt: nullable(fc.constant(AT + 9)) }),
    flapping: nullable(fc.record({ until: fc.constant(AT + 4), isTold: fc.boolean() })),
    settledAt: instant,
    returnMs: fc.constantFrom(0, 3),
    isJustAcknowledged: fc.boolean(),
    last: nullable(
      fc.record({
        told: fc.constantFrom(...TOLD),
        heldBy: nullable(fc.constantFrom(...HOLDS)),
        lookAt: nullable(instant),
      }),
    ),
  });
  const isOpen = (state: NoticeFacts['state']) => state === 'raised' || state === 'acknowledged';

  const eachDecision = (check: (given: NoticeFacts, decided: NoticeDecision, told: NoticeDecision['told']) => void) =>
    fc.assert(
      fc.property(facts, (given) => check(given, decideNotice(given, AT), given.last?.told ?? 'nothing')),
      runs(2000),
    );

  it('tells only differences', () =>
    eachDecision(({ state }, { tell, told: after }, told) => {
      if (tell === 'raised') expect([told, after, isOpen(state)]).to.deep.equal(['nothing', 'open', true]);
      if (tell === 'resolved' || tell === 'dismissed')
        expect([told, after, state]).to.deep.equal(['open', 'closed', tell]);
      if (tell === null || tell === 'acknowledged') expect(after).to.equal(told);
    }));

  it('tells nothing but flapping while it holds back, and knows when to look again', () =>
    eachDecision((_given, { tell, heldBy, lookAt }) => {
      if (heldBy === null) return;
      expect(tell).to.be.oneOf([null, 'flapping']);
      if (heldBy !== 'incident') expect(lookAt ?? 0).to.be.greaterThan(AT);
    }));

  it('tells whoever was told of a beginning of its end, sooner or later', () =>
    eachDecision(({ state }, { told, heldBy, lookAt }) => {
      if (isOpen(state)) return;
      if (told === 'open') expect(lookAt ?? 0).to.be.greaterThan(AT);
      else expect([heldBy, lookAt]).to.deep.equal([null, null]);
    }));

  /** Its hold is over, earlier than one that begins now would be. */
  const heldAndAcknowledged: NoticeFacts = {
    state: 'acknowledged',
    raisedAt: AT,
    incidentId: null,
    snoozedUntil: null,
    gatheredWithinMs: 3,
    maintenance: { until: null, nextAt: null },
    flapping: null,
    settledAt: AT,
    returnMs: 0,
    isJustAcknowledged: false,
    last: { told: 'nothing', heldBy: 'hold', lookAt: AT },
  };

  it('decides the same again when nothing has happened', () => {
    fc.assert(
      fc.property(facts, (given) => {
        const first = decideNotice(given, AT);
        const { told, heldBy, lookAt } = first;
        const flapping = given.flapping && {
          ...given.flapping,
          isTold: given.flapping.isTold || first.tell === 'flapping',
        };
        const again = decideNotice(
          { ...given, flapping, isJustAcknowledged: false, last: { told, heldBy, lookAt } },
          AT,
        );
        expect(again).to.deep.equal({ ...first, tell: null });
      }),
      { ...runs(2000), examples: [[heldAndAcknowledged]] },
    );
  });
});

describe('when a state is settled', () => {
  const FACE = { contactDueAt: AT - 500_000, intervalMs: 60_000, graceMs: 5000, lateUntil: null };
  const open = createLedger([]);

  it('is now, long after the heartbeat that was due', () => expect(settledFrom(FACE, open, AT)).to.equal(AT));

  it('is after the grace of a heartbeat that is due', () => {
    const due = (contactDueAt: number) => settledFrom({ ...FACE, contactDueAt }, open, AT);
    expect(due(AT)).to.equal(AT + 5000);
    expect(due(AT - 4999)).to.equal(AT + 1);
    expect(due(AT - 5000)).to.equal(AT);
    expect(due(AT + 1)).to.equal(AT);
  });

  it('is when a late computer would be offline, or a second later when that is past', () => {
    const late = (lateUntil: number) => settledFrom({ ...FACE, lateUntil }, open, AT);
    expect(late(AT + 40_000)).to.equal(AT + 40_000);
    expect(late(AT + 999)).to.equal(AT + 1000);
    expect(late(AT - 5)).to.equal(AT + 1000);
    expect(late(Number.POSITIVE_INFINITY)).to.equal(AT);
  });

  it('is after the allowance that follows time in which nobody listened', () => {
    const since = (until: number) => settledFrom(FACE, createLedger([{ from: 0, until }]), AT);
    const allowance = 60_000 + 10_000 + 5000;
    expect(since(AT - 1000)).to.equal(AT - 1000 + allowance);
    expect(since(AT - allowance)).to.equal(AT);
    expect(since(AT - allowance + 1)).to.equal(AT + 1);
    expect(since(AT)).to.equal(AT + allowance);
  });

  it('is unknown while nobody listens', () => {
    expect(settledFrom(FACE, createLedger([{ from: AT, until: Infinity }]), AT)).to.equal(AT + 10_000);
    expect(settledFrom(FACE, createLedger([{ from: AT + 1, until: Infinity }]), AT)).to.equal(AT);
    expect(settledFrom(FACE, createLedger([{ from: AT - 100, until: AT + 1 }]), AT)).to.equal(AT + 10_000);
  });

  it('is the last of all that is waited for', () => {
    const ledger = createLedger([{ from: 0, until: AT - 1000 }]);
    const due = { ...FACE, contactDueAt: AT - 1 };
    expect(settledFrom({ ...due, lateUntil: AT + 90_000 }, ledger, AT)).to.equal(AT + 90_000);
    expect(settledFrom({ ...due, lateUntil: AT + 9000 }, ledger, AT)).to.equal(AT + 74_000);
  });
});
