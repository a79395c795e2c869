import { expect } from 'chai';
import fc from 'fast-check';
import {
  createMaintenanceCalendar,
  isAimedAt,
  labelTexts,
  maintenanceAt,
  maintenanceSpans,
  nextMaintenanceAt,
} from '../../../policies/maintenance-rules.js';
import type { MaintenanceWindow } from '../../../policies/setting-values.js';
import { runs } from '../../support/property-runs.js';

const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;
const DAY_MS = 24 * HOUR_MS;
const ms = (text: string): number => Date.parse(text);
const iso = (instant: number): string => new Date(instant).toISOString().replace(/:00\.000Z$/, 'Z');
const inBerlin = (cron: string, durationMinutes: number): MaintenanceWindow => ({
  cron,
  durationMinutes,
  timeZone: 'Europe/Berlin',
});
const inUtc = (cron: string, durationMinutes: number): MaintenanceWindow => ({
  cron,
  durationMinutes,
  timeZone: 'UTC',
});

describe('the calendar of maintenance windows', () => {
  /** Its name, the windows, the range that is looked at, and the spans in it. */
  type Case = readonly [string, readonly MaintenanceWindow[], string, readonly string[]];
  const table: readonly Case[] = [
    [
      'begins at the local time of its zone, in winter and in summer',
      [inBerlin('0 3 * * *', 60)],
      '2026-03-27T12:00Z 2026-03-30T12:00Z',
      [
        '2026-03-28T02:00Z 2026-03-28T03:00Z',
        '2026-03-29T01:00Z 2026-03-29T02:00Z',
        '2026-03-30T01:00Z 2026-03-30T02:00Z',
      ],
    ],
    [
      'begins a start inside the skipped hour when that hour is over',
      [inBerlin('30 2 * * *', 45)],
      '2026-03-28T12:00Z 2026-03-30T12:00Z',
      ['2026-03-29T01:00Z 2026-03-29T01:45Z', '2026-03-30T00:30Z 2026-03-30T01:15Z'],
    ],
    [
      'counts a start inside the repeated hour once',
      [inBerlin('30 2 * * *', 45)],
      '2026-10-24T12:00Z 2026-10-26T12:00Z',
      ['2026-10-25T00:30Z 2026-10-25T01:15Z', '2026-10-26T01:30Z 2026-10-26T02:15Z'],
    ],
    [
      'counts each of listed starts inside the repeated hour once',
      [inBerlin('0,30 2 * * *', 10)],
      '2026-10-24T12:00Z 2026-10-25T12:00Z',
      ['2026-10-25T00:00Z 2026-10-25T00:10Z', '2026-10-25T00:30Z 2026-10-25T00:40Z'],
    ],
    [
      'begins every hour of a day of 25 hours',
      [inBerlin('0 * * * *', 10)],
      '2026-10-24T23:30Z 2026-10-25T02:30Z',
      [
        '2026-10-25T00:00Z 2026-10-25T00:10Z',
        '2026-10-25T01:00Z 2026-10-25T01:10Z',
        '2026-10-25T02:00Z 2026-10-25T02:10Z',
      ],
    ],
    [
      'lasts its minutes across the skipped hour',
      [inBerlin('0 1 * * *', 180)],
      '2026-03-28T12:00Z 2026-03-29T12:00Z',
      ['2026-03-29T00:00Z 2026-03-29T03:00Z'],
    ],
    [
      'lasts its minutes across the repeated hour',
      [inBerlin('0 1 * * *', 180)],
      '2026-10-24T12:00Z 2026-10-25T12:00Z',
      ['2026-10-24T23:00Z 2026-10-25T02:00Z'],
    ],
    [
      'begins once at a midnight that does not exist',
      [{ cron: '30 0 * * *', durationMinutes: 10, timeZone: 'Africa/Cairo' }],
      '2026-04-23T12:00Z 2026-04-25T12:00Z',
      ['2026-04-23T22:00Z 2026-04-23T22:10Z', '2026-04-24T21:30Z 2026-04-24T21:40Z'],
    ],
    [
      'knows a zone that leaps by half an hour',
      [{ cron: '15 2 * * *', durationMinutes: 5, timeZone: 'Australia/Lord_Howe' }],
      '2026-10-03T12:00Z 2026-10-04T23:00Z',
      ['2026-10-03T15:30Z 2026-10-03T15:35Z', '2026-10-04T15:15Z 2026-10-04T15:20Z'],
    ],
    [
      'takes either the day of the month or that of the week, as cron does',
      [inUtc('0 0 13 * fri', 1)],
      '2026-11-01T00:01Z 2026-11-15T00:00Z',
      ['2026-11-06T00:00Z 2026-11-06T00:01Z', '2026-11-13T00:00Z 2026-11-13T00:01Z'],
    ],
    [
      'clips to the range',
      [inUtc('0 * * * *', 30)],
      '2026-11-21T10:10Z 2026-11-21T11:10Z',
      ['2026-11-21T10:10Z 2026-11-21T10:30Z', '2026-11-21T11:00Z 2026-11-21T11:10Z'],
    ],
    ['is closed at its end and open at its start', [inUtc('0 * * * *', 30)], '2026-11-21T10:30Z 2026-11-21T11:00Z', []],
    [
      'joins windows longer than their period',
      [inUtc('0 0,12 * * *', 721)],
      '2026-11-21T06:00Z 2026-11-23T06:00Z',
      ['2026-11-21T06:00Z 2026-11-23T06:00Z'],
    ],
    [
      'joins windows that touch',
      [inUtc('0 10 * * *', 60), inUtc('0 11 * * *', 60)],
      '2026-11-21T00:00Z 2026-11-22T00:00Z',
      ['2026-11-21T10:00Z 2026-11-21T12:00Z'],
    ],
    [
      'joins windows that overlap, the shorter inside the longer',
      [inUtc('0 10 * * *', 60), inUtc('50 10 * * *', 5), inUtc('55 10 * * *', 60)],
      '2026-11-21T00:00Z 2026-11-22T00:00Z',
      ['2026-11-21T10:00Z 2026-11-21T11:55Z'],
    ],
    [
      'keeps windows apart that do not meet',
      [inUtc('2 11 * * *', 60), inUtc('0 10 * * *', 61)],
      '2026-11-21T00:00Z 2026-11-22T00:00Z',
      ['2026-11-21T10:00Z 2026-11-21T11:01Z', '2026-11-21T11:02Z 2026-11-21T12:02Z'],
    ],
    [
      'covers a week from each of its minutes',
      [inUtc('* * * * *', 10_080)],
      '2026-01-01T00:00Z 2026-12-31T00:00Z',
      ['2026-01-01T00:00Z 2026-12-31T00:00Z'],
    ],
    ['is never open without a window', [], '2026-01-01T00:00Z 2027-01-01T00:00Z', []],
    [
      'is never open on a day that no month has',
      [inBerlin('0 0 30 2 *', 60)],
      '2026-01-01T00:00Z 2027-01-01T00:00Z',
      [],
    ],
  ];
  for (const [name, windows, range, spans] of table)
    it(name, () => {
      const [from = 0, until = 0] = range.split(' ').map(ms);
      const found = maintenanceSpans(windows, { from, until });
      expect(found.map((span) => `${iso(span.from)} ${iso(span.until)}`)).to.deep.equal(spans);
    });
});

describe('maintenance at an instant', () => {
  const endAt = (windows: readonly MaintenanceWindow[], at: string | number): string | null => {
    const end = createMaintenanceCalendar(windows).endAt(typeof at === 'string' ? ms(at) : at);
    return end === null ? null : iso(end);
  };
  const nightly = [inBerlin('0 3 * * *', 90)];

  it('begins with the minute and ends a millisecond before the end', () => {
    expect(endAt(nightly, ms('2026-11-21T02:00Z') - 1)).to.equal(null);
    expect(endAt(nightly, '2026-11-21T02:00Z')).to.equal('2026-11-21T03:30Z');
    expect(endAt(nightly, ms('2026-11-21T03:30Z') - 1)).to.equal('2026-11-21T03:30Z');
    expect(endAt(nightly, '2026-11-21T03:30Z')).to.equal(null);
  });

  it('ends with the last of the windows that run into each other', () => {
    const windows = [
      inUtc('0 10 * * *', 60),
      inUtc('30 10 * * *', 60),
      inUtc('30 11 * * *', 15),
      inUtc('0 12 * * *', 5),
    ];
    expect(endAt(windows, '2026-11-21T10:10Z')).to.equal('2026-11-21T11:45Z');
    expect(endAt(windows, '2026-11-21T12:04Z')).to.equal('2026-11-21T12:05Z');
  });

  it('is sure of a time ahead when the windows never end', () => {
    const calendar = createMaintenanceCalendar([inUtc('* * * * *', 60)]);
    const at = ms('2026-11-21T10:00:30Z');
    const end = calendar.endAt(at) ?? 0;
    expect(end).to.be.greaterThan(at + 7 * DAY_MS);
    expect(calendar.endAt(end)).to.be.greaterThan(end);
    expect(calendar.next(at, 3)).to.deep.equal([]);
    expect(calendar.isEndlessAt(at)).to.equal(true);
    expect(createMaintenanceCalendar(nightly).isEndlessAt(at)).to.equal(false);
  });

  it('tells the next occurrences after an instant, the present one left out', () => {
    const calendar = createMaintenanceCalendar(nightly);
    const shown = (at: string, count: number) =>
      calendar.next(ms(at), count).map(({ from, until }) => `${iso(from)} ${iso(until)}`);
    expect(shown('2026-11-21T02:30Z', 2)).to.deep.equal([
      '2026-11-22T02:00Z 2026-11-22T03:30Z',
      '2026-11-23T02:00Z 2026-11-23T03:30Z',
    ]);
    expect(shown('2026-11-21T01:59Z', 1)).to.deep.equal(['2026-11-21T02:00Z 2026-11-21T03:30Z']);
    expect(shown('2026-11-21T02:00Z', 0)).to.deep.equal([]);
    expect(createMaintenanceCalendar([inUtc('0 0 30 2 *', 60)]).next(0, 3)).to.deep.equal([]);
    expect(createMaintenanceCalendar([]).next(0, 3)).to.deep.equal([]);
  });

  it('tells the next occurrence of a leap day', () => {
    const calendar = createMaintenanceCalendar([inUtc('0 0 29 feb *', 60)]);
    expect(calendar.next(ms('2026-11-21T00:00Z'), 2).map(({ from }) => iso(from))).to.deep.equal([
      '2028-02-29T00:00Z',
      '2032-02-29T00:00Z',
    ]);
  });
});

describe('the calendar against a minute-wise look at every window', () => {
  const windows = fc.array(
    fc.record({
      minute: fc.constantFrom('0', '17', '*/20', '5,50'),
      hour: fc.constantFrom('*', '2', '1-3', '*/6', '23'),
      durationMinutes: fc.constantFrom(1, 19, 20, 45, 70, 400, 1500),
    }),
    { maxLength: 3 },
  );
  const member = (field: string, value: number): boolean =>
    field.split(',').some((part) => {
      const [range = '', step = '1'] = part.split('/');
      const [first, last = first] = range === '*' ? ['0', '59'] : range.split('-');
      return value >= Number(first) && value <= Number(last) && (value - Number(first)) % Number(step) === 0;
    });

  it('agrees, in UTC', () => {
    fc.assert(
      fc.property(
        windows,
        fc.integer({ min: 0, max: 3 * 1440 }),
        fc.integer({ min: 1, max: 500 }),
        (given, begin, length) => {
          const isStart = (minute: number) => (window: (typeof given)[number]) =>
            member(window.minute, minute % 60) && member(window.hour, Math.floor(minute / 60) % 24);
          const offset = 2 * 1440;
          const covered = Array.from({ length: offset + 4 * 1440 + 4000 }, () => false);
          for (const window of given)
            for (let minute = 0; minute < offset + begin + length; minute += 1)
              if (isStart(minute)(window)) covered.fill(true, minute, minute + window.durationMinutes);
          const zero = ms('2026-06-10T00:00Z') - offset * MINUTE_MS;
          const at = (minute: number) => zero + (offset + minute) * MINUTE_MS;
          const range = { from: at(begin), until: at(begin + length) };
          const setting = given.map(({ minute, hour, durationMinutes }) =>
            inUtc(`${minute} ${hour} * * *`, durationMinutes),
          );
          const calendar = createMaintenanceCalendar(setting);
          const spans = [...calendar.spans(range)];
          for (let minute = begin; minute < begin + length; minute += 7) {
            const inside = spans.some(({ from, until }) => at(minute) >= from && at(minute) < until);
            expect(inside, iso(at(minute))).to.equal(covered[offset + minute]);
          }
          expect(calendar.endAt(at(begin)) !== null).to.equal(covered[offset + begin]);
          spans.forEach((span, index) => {
            expect(span.until).to.be.greaterThan(span.from);
            expect(span.from).to.be.at.least(spans[index - 1] ? (spans[index - 1]?.until ?? 0) + 1 : range.from);
            expect(span.until).to.be.at.most(range.until);
          });
        },
      ),
      { ...runs(60), endOnFailure: true },
    );
  });

  it('is the same whether asked for the whole year of changing clocks or for each part of it', () => {
    fc.assert(
      fc.property(
        windows,
        fc.constantFrom('Europe/Berlin', 'America/New_York', 'Australia/Lord_Howe', 'Africa/Cairo'),
        fc.record({
          day: fc.constantFrom(
            '2026-03-07',
            '2026-03-28',
            '2026-04-04',
            '2026-04-23',
            '2026-10-03',
            '2026-10-24',
            '2026-10-31',
          ),
          minutes: fc.integer({ min: 1, max: 2159 }),
        }),
        (given, timeZone, { day, minutes }) => {
          const setting = given.map(({ minute, hour, durationMinutes }) => ({
            cron: `${minute} ${hour} * * *`,
            durationMinutes,
            timeZone,
          }));
          const calendar = createMaintenanceCalendar(setting);
          const [from, middle, until] = [ms(day), ms(day) + minutes * MINUTE_MS, ms(day) + 1.5 * DAY_MS];
          const whole = [...calendar.spans({ from, until })];
          const parts = [...calendar.spans({ from, until: middle }), ...calendar.spans({ from: middle, until })];
          const length = (spans: readonly { from: number; until: number }[]) =>
            spans.reduce((sum, span) => sum + span.until - span.from, 0);
          expect(length(parts)).to.equal(length(whole));
          expect(calendar.endAt(middle) !== null).to.equal(
            whole.some((span) => span.from <= middle && middle < span.until),
          );
        },
      ),
      { ...runs(60), endOnFailure: true },
    );
  });
});

describe('one-off windows', () => {
  const web1 = { id: 'web1', lineage: ['web', 'base'], labels: { site: 'berlin', tier: '' } };
  const anyone = { computerId: null, policyId: null, label: null };
  const table: readonly (readonly [object, boolean])[] = [
    [{ computerId: 'web1' }, true],
    [{ computerId: 'db1' }, false],
    [{ policyId: 'web' }, true],
    [{ policyId: 'base' }, true],
    [{ policyId: 'db' }, false],
    [{ label: 'site' }, true],
    [{ label: 'site=berlin' }, true],
    [{ label: 'site=paris' }, false],
    [{ label: 'site=' }, false],
    [{ label: 'tier=' }, true],
    [{ label: 'constructor' }, false],
    [{ policyId: 'web', label: 'site=berlin' }, true],
    [{ policyId: 'db', label: 'site=berlin' }, false],
    [{ policyId: 'web', label: 'site=paris' }, false],
  ];
  for (const [target, expected] of table)
    it(`${expected ? 'are' : 'are not'} for a computer by ${JSON.stringify(target)}`, () =>
      expect(isAimedAt({ ...anyone, ...target }, web1)).to.equal(expected));

  it('name a label by its key or by both', () =>
    expect(labelTexts(web1.labels)).to.deep.equal(['site', 'site=berlin', 'tier', 'tier=']));

  const calendar = createMaintenanceCalendar([inUtc('0 10 * * *', 60)]);
  const at = (text: string) => ms(`2026-11-21T${text}Z`);
  const oneOff = (id: string, from: string, until: string) => ({ id, from: at(from), until: at(until) });
  const present = (oneOffs: readonly ReturnType<typeof oneOff>[], when: string) => {
    const found = maintenanceAt({ calendar, oneOffs }, at(when));
    return found && `${iso(found.until).slice(11)} ${found.windowId}`;
  };

  it('count beside the setting', () => {
    const a = oneOff('a', '12:00', '13:00');
    expect(present([a], '10:30')).to.equal('11:00Z null');
    expect(present([a], '12:00')).to.equal('13:00Z a');
    expect(present([a], '13:00')).to.equal(null);
    expect(present([a], '11:30')).to.equal(null);
    expect(present([], '12:30')).to.equal(null);
  });

  it('run on into each other and into the setting, and the one that covers the instant longest is named', () => {
    const chain = [oneOff('a', '09:00', '10:15'), oneOff('b', '10:45', '11:30'), oneOff('c', '11:30', '12:00')];
    expect(present(chain, '09:30')).to.equal('12:00Z a');
    expect(present(chain, '10:10')).to.equal('12:00Z null');
    expect(present(chain, '10:50')).to.equal('12:00Z b');
    expect(present([oneOff('a', '10:00', '10:30'), oneOff('b', '10:00', '11:00')], '10:10')).to.equal('11:00Z null');
    expect(present([oneOff('b', '09:00', '09:40'), oneOff('a', '09:00', '09:50')], '09:10')).to.equal('09:50Z a');
    expect(present([oneOff('a', '09:00', '09:50'), oneOff('b', '09:00', '09:40')], '09:10')).to.equal('09:50Z a');
  });

  it('begin next when the first of either sort does', () => {
    const next = (oneOffs: readonly ReturnType<typeof oneOff>[], when: string) => {
      const instant = nextMaintenanceAt({ calendar, oneOffs }, at(when));
      return instant === null ? null : iso(instant).slice(5);
    };
    expect(next([], '09:00')).to.equal('11-21T10:00Z');
    expect(next([oneOff('a', '09:30', '09:40')], '09:00')).to.equal('11-21T09:30Z');
    expect(next([oneOff('a', '09:30', '09:40')], '09:30')).to.equal('11-21T10:00Z');
    expect(next([oneOff('a', '23:30', '23:40')], '11:00')).to.equal('11-21T23:30Z');
    expect(nextMaintenanceAt({ calendar: createMaintenanceCalendar([]), oneOffs: [] }, 0)).to.equal(null);
  });
});

describe('windows that run into each other for ever', () => {
  const endless = createMaintenanceCalendar([{ cron: '* * * * *', durationMinutes: 10, timeZone: 'UTC' }]);
  const counted = () => {
    let asked = 0;
    const calendar = { ...endless, endAt: (at: number) => ((asked += 1), endless.endAt(at)) };
    return { calendar, asked: () => asked };
  };
  const at = Date.parse('2026-11-21T12:00:00Z');

  it('are followed once by the calendar, not by every step beside it', () => {
    const { calendar, asked } = counted();
    expect(maintenanceAt({ calendar, oneOffs: [] }, at)?.until).to.equal(endless.endAt(at));
    expect(asked()).to.be.at.most(2);
    expect(maintenanceAt({ calendar: endless, oneOffs: [] }, at)?.isEndless).to.equal(true);
    const daily = createMaintenanceCalendar([{ cron: '0 12 * * *', durationMinutes: 10, timeZone: 'UTC' }]);
    const after = { id: 'a', from: at, until: at + 3_600_000 };
    expect(maintenanceAt({ calendar: daily, oneOffs: [after] }, at)?.isEndless).to.equal(false);
    expect(maintenanceAt({ calendar: daily, oneOffs: [] }, at)?.isEndless).to.equal(false);
  });

  it('are followed beyond a one-off window that they run into', () => {
    const end = endless.endAt(at) ?? 0;
    const oneOff = { id: 'a', from: end - 60_000, until: end + 30 * 86_400_000 };
    const { calendar, asked } = counted();
    expect(maintenanceAt({ calendar, oneOffs: [oneOff] }, at)?.until).to.be.at.least(oneOff.until);
    expect(asked()).to.be.at.most(5);
  });
});
