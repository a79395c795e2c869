import { expect } from 'chai';
import fc from 'fast-check';
import {
  addAvailability,
  availabilityOf,
  availabilityPercent,
  createAccounting,
  meanRepairMs,
  NO_AVAILABILITY,
  stretchesOf,
  type Availability,
  type StatusChange,
  type StatusRecord,
} from '../../../policies/availability-rules.js';
import type { Span } from '../../../policies/listening-ledger.js';
import { STATUSES, type Status } from '../../../policies/status-model.js';

/** Instants and lengths are in tens of seconds, so that nothing apart is closer than what counts as one. */
const U = 10_000;
const RANGE: Span = { from: 100 * U, until: 200 * U };

/** `online>late @120 !125`: it became late at 120, which was noticed at 125. */
function changesOf(text: string): StatusChange[] {
  return text.split(/\s*,\s*/).flatMap((change) => {
    const [, previousStatus, status, since, noticed] = /^(\w+)>(\w+) @(\d+)(?: !(\d+))?$/.exec(change) ?? [];
    if (since === undefined) return [];
    return [
      {
        status: status as Status,
        previousStatus: previousStatus as Status,
        since: Number(since) * U,
        noticedAt: Number(noticed ?? since) * U,
      },
    ];
  });
}

const recordOf = (changes: string, more: Partial<StatusRecord> = {}): StatusRecord => ({
  createdAt: 0,
  status: 'online',
  changes: changesOf(changes),
  ...more,
});

const told = (record: StatusRecord, range = RANGE): string =>
  stretchesOf(record, range)
    .map(({ from, until, status }) => `${status} ${from / U}-${until / U}`)
    .join(', ');

describe('the statuses of a computer within a range', () => {
  const table: readonly (readonly [name: string, record: StatusRecord, is: string])[] = [
    ['are its present one where nothing changed', recordOf('', { status: 'stopped' }), 'stopped 100-200'],
    [
      'begin with the one before the first change',
      recordOf('online>late @120, late>online @130'),
      'online 100-120, late 120-130, online 130-200',
    ],
    ['are all of the one before a change at the end', recordOf('late>offline @200'), 'late 100-200'],
    [
      'are all of the one before a change after the end',
      recordOf('late>offline @300', { status: 'offline' }),
      'late 100-200',
    ],
    ['leave the one before a change at the begin out', recordOf('late>offline @100'), 'offline 100-200'],
    [
      'begin when the record was made',
      recordOf('pending>online @150', { createdAt: 140 * U }),
      'pending 140-150, online 150-200',
    ],
    ['are none of a record made after the range', recordOf('', { createdAt: 200 * U }), ''],
    [
      'come in the order in which they were noticed',
      recordOf('late>offline @140 !160, offline>online @170, online>late @120 !121'),
      'online 100-120, late 120-140, offline 140-170, online 170-200',
    ],
    [
      'never go back behind what was noticed before',
      recordOf('online>stopped @150 !150, stopped>offline @120 !160, offline>online @170'),
      'online 100-150, offline 150-170, online 170-200',
    ],
    [
      'of one instant follow each other by the status before',
      recordOf('late>offline @120, stopped>late @120, offline>online @120, online>late @180'),
      'stopped 100-120, online 120-180, late 180-200',
    ],
    [
      'of one instant go on from the one noticed before',
      recordOf('online>late @110, offline>online @120, late>offline @120'),
      'online 100-110, late 110-120, online 120-200',
    ],
    [
      'of one instant in two notices are told apart',
      recordOf('late>offline @120 !121, online>late @120 !120, offline>online @130'),
      'online 100-120, offline 120-130, online 130-200',
    ],
    [
      'noticed together but begun apart keep their order',
      recordOf('late>offline @130 !140, online>late @120 !140'),
      'online 100-120, late 120-130, offline 130-200',
    ],
    [
      'that fit together in no way come as they are',
      recordOf('online>late @120, late>online @120, pending>offline @150'),
      'online 100-150, offline 150-200',
    ],
    ['that only a flag parted are one', recordOf('online>online @120'), 'online 100-200'],
  ];
  for (const [name, record, is] of table) it(name, () => expect(told(record)).to.equal(is));

  it('are none of an empty range', () => {
    expect(told(recordOf('online>late @100'), { from: 100 * U, until: 100 * U })).to.equal('');
  });

  it('are answered without touching what was given', () => {
    const record = recordOf('late>offline @140, online>late @120');
    const before = structuredClone(record);
    stretchesOf(record, RANGE);
    expect(record).to.deep.equal(before);
  });
});

type Sums = Partial<Record<keyof Availability, number>>;

/** Times in units; only what is not 0. */
function sumsOf(
  changes: string,
  facts: { deaf?: Span[]; maintenance?: Span[]; excluded?: boolean; createdAt?: number } = {},
): Sums {
  const { deaf = [], maintenance = [], excluded = false, createdAt = 0 } = facts;
  const inMs = (spans: Span[]) => spans.map(({ from, until }) => ({ from: from * U, until: until * U }));
  const accounting = createAccounting({
    deaf: inMs(deaf),
    maintenance: inMs(maintenance),
    isMaintenanceExcluded: excluded,
  });
  const stretches = stretchesOf(recordOf(changes, { createdAt: createdAt * U }), RANGE);
  const sums = Object.entries(availabilityOf(stretches, RANGE, accounting));
  return Object.fromEntries(
    sums.flatMap(([key, value]) => (value === 0 ? [] : [[key, key.endsWith('Ms') ? value / U : value]])),
  ) as Sums;
}

const WHOLE = { computers: 1, rangeMs: 100 };

describe('the sums of availability', () => {
  it('count every status by its name', () => {
    const changes =
      'pending>online @110, online>late @120, late>offline @130, offline>stopped @150, stopped>revoked @190';
    expect(sumsOf(changes)).to.deep.equal({
      ...WHOLE,
      pendingMs: 10,
      onlineMs: 10,
      lateMs: 10,
      offlineMs: 20,
      stoppedMs: 40,
      revokedMs: 10,
      outages: 1,
      longestOutageMs: 20,
    });
  });

  it('count the time before the record was made for nothing', () => {
    expect(sumsOf('', { createdAt: 160, deaf: [{ from: 100, until: 170 }] })).to.deep.equal({
      ...WHOLE,
      notEnrolledMs: 60,
      deafMs: 10,
      onlineMs: 30,
    });
    expect(sumsOf('', { createdAt: 300 })).to.deep.equal({ ...WHOLE, notEnrolledMs: 100 });
  });

  it('hold nothing against a computer that nobody listened to', () => {
    const changes = 'online>offline @120, offline>online @160';
    expect(sumsOf(changes, { deaf: [{ from: 110, until: 140 }] })).to.deep.equal({
      ...WHOLE,
      onlineMs: 50,
      offlineMs: 20,
      deafMs: 30,
      outages: 1,
      longestOutageMs: 20,
      repairs: 1,
      repairMs: 20,
    });
    expect(sumsOf(changes, { deaf: [{ from: 120, until: 160 }] })).to.deep.equal({
      ...WHOLE,
      onlineMs: 60,
      deafMs: 40,
    });
  });

  it('count maintenance twice where it is not excluded, and for itself alone where it is', () => {
    const changes = 'online>offline @120, offline>online @160';
    const facts = { maintenance: [{ from: 110, until: 150 }], deaf: [{ from: 140, until: 170 }] };
    expect(sumsOf(changes, facts)).to.deep.equal({
      ...WHOLE,
      onlineMs: 50,
      offlineMs: 20,
      deafMs: 30,
      maintenanceMs: 40,
      outages: 1,
      longestOutageMs: 20,
      repairs: 1,
      repairMs: 20,
    });
    expect(sumsOf(changes, { ...facts, excluded: true })).to.deep.equal({
      ...WHOLE,
      onlineMs: 40,
      deafMs: 20,
      maintenanceMs: 40,
    });
  });

  it('tell the outages, the longest, and those that ended by a return', () => {
    const changes =
      'offline>late @110, late>offline @120, offline>stopped @150, stopped>online @160, online>offline @170, offline>online @175, online>offline @190';
    const { outages, longestOutageMs, repairs, repairMs } = sumsOf(changes);
    expect({ outages, longestOutageMs, repairs, repairMs }).to.deep.equal({
      outages: 4,
      longestOutageMs: 30,
      repairs: 2,
      repairMs: 15,
    });
  });

  it('of two sets of computers add up, and the longest outage is the longer one', () => {
    const one = {
      ...NO_AVAILABILITY,
      computers: 1,
      onlineMs: 5,
      offlineMs: 3,
      longestOutageMs: 3,
      outages: 1,
      repairMs: 1,
    };
    const other = {
      ...NO_AVAILABILITY,
      computers: 2,
      onlineMs: 7,
      offlineMs: 4,
      longestOutageMs: 2,
      outages: 2,
      repairs: 1,
    };
    const sum = {
      ...NO_AVAILABILITY,
      computers: 3,
      onlineMs: 12,
      offlineMs: 7,
      longestOutageMs: 3,
      outages: 3,
      repairs: 1,
      repairMs: 1,
    };
    expect(addAvailability(one, other)).to.deep.equal(sum);
    expect(addAvailability(other, one)).to.deep.equal(sum);
    expect(NO_AVAILABILITY.computers).to.equal(0);
  });

  const percent: readonly (readonly [online: number, late: number, offline: number, is: number | null])[] = [
    [0, 0, 0, null],
    [0, 0, 5, 0],
    [5, 0, 0, 100],
    [0, 5, 0, 100],
    [29, 0, 71, 29],
    [1, 1, 1, 66.6666],
    [1e12, 0, 1, 99.9999],
    [1e17, 0, 1, 99.9999],
    [0, 1, 1e12, 0],
  ];
  for (const [onlineMs, lateMs, offlineMs, is] of percent)
    it(`make ${is} percent of ${onlineMs} online, ${lateMs} late and ${offlineMs} offline`, () => {
      const stopped = { stoppedMs: 7, pendingMs: 9, deafMs: 11 };
      expect(availabilityPercent({ ...NO_AVAILABILITY, ...stopped, onlineMs, lateMs, offlineMs })).to.equal(is);
    });

  it('have a mean time to repair where anything was repaired', () => {
    expect(meanRepairMs({ ...NO_AVAILABILITY, outages: 3 })).to.equal(null);
    expect(meanRepairMs({ ...NO_AVAILABILITY, repairs: 4, repairMs: 10 })).to.equal(2.5);
  });
});

describe('the sums of availability against looking at every moment', () => {
  const statuses = Object.keys(STATUSES) as Status[];
  const span = fc.tuple(fc.integer({ min: 90, max: 205 }), fc.integer({ min: 1, max: 30 }));
  const situation = fc.record({
    first: fc.constantFrom(...statuses),
    // Each begins that much after the one before and is noticed later by so much at most.
    steps: fc.array(fc.tuple(fc.integer({ min: 1, max: 25 }), fc.constantFrom(...statuses)), { maxLength: 8 }),
    createdAt: fc.oneof(fc.constant(0), fc.integer({ min: 95, max: 210 })),
    deaf: fc.array(span, { maxLength: 3 }),
    maintenance: fc.array(span, { maxLength: 3 }),
    excluded: fc.boolean(),
  });

  it('agree, and the times make up the range', () => {
    fc.assert(
      fc.property(situation, ({ first, steps, createdAt, deaf, maintenance, excluded }) => {
        let at = 101;
        let previousStatus = first;
        const changes = steps.map(([after, status]): StatusChange => {
          const change = { status, previousStatus, since: at * U, noticedAt: at * U };
          at += after;
          previousStatus = status;
          return change;
        });
        const statusAt = (unit: number): Status =>
          changes.filter(({ since }) => since <= unit * U).at(-1)?.status ?? first;
        const inMs = (spans: readonly (readonly [number, number])[]) =>
          spans.map(([from, length]) => ({ from: from * U, until: (from + length) * U }));
        const facts = { deaf: inMs(deaf), maintenance: inMs(maintenance), isMaintenanceExcluded: excluded };
        const record = { createdAt: createdAt * U, status: first, changes: changes.toReversed() };
        const sums = availabilityOf(stretchesOf(record, RANGE), RANGE, createAccounting(facts));

        const expected: Record<string, number> = {};
        const count = (key: string) => void (expected[key] = (expected[key] ?? 0) + U);
        const isIn = (spans: readonly Span[], unit: number) =>
          spans.some(({ from, until }) => from <= unit * U && unit * U < until);
        for (let unit = 100; unit < 200; unit += 1) {
          const isMaintained = isIn(facts.maintenance, unit);
          if (unit < createdAt) {
            count('notEnrolledMs');
            continue;
          }
          if (isMaintained) count('maintenanceMs');
          if (isMaintained && excluded) continue;
          count(isIn(facts.deaf, unit) ? 'deafMs' : `${statusAt(unit)}Ms`);
        }
        for (const key of [...statuses.map((status) => `${status}Ms`), 'notEnrolledMs', 'deafMs', 'maintenanceMs'])
          expect(sums[key as keyof Availability], key).to.equal(expected[key] ?? 0);
        const { rangeMs, maintenanceMs, computers, outages, longestOutageMs, repairs, repairMs, ...times } = sums;
        const whole = Object.values(times).reduce((sum, time) => sum + time, excluded ? maintenanceMs : 0);
        expect(whole).to.equal(rangeMs);
        expect(computers).to.equal(1);
        expect(repairs).to.be.at.most(outages);
        expect(repairMs).to.be.at.most(times.offlineMs);
        expect(longestOutageMs * outages).to.be.at.least(times.offlineMs);
      }),
      { numRuns: 400 },
    );
  });
});
