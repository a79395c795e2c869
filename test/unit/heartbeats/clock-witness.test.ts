import { expect } from 'chai';
import type { HeardClock } from '../../../policies/clock-majority.js';
import { ALONE, createClockWitness, type ClockDoubt } from '../../../server/heartbeats/clock-witness.js';

const T0 = 1_790_000_000_000;
const MINUTE = 60_000;
const HOUR = 60 * MINUTE;

const heard = (n: number, changes: Partial<HeardClock> = {}): HeardClock => ({
  computerId: `c${n}`,
  heardAt: T0,
  intervalMs: MINUTE,
  aheadMs: 0,
  movedMs: 0,
  knownAt: T0 - 2 * MINUTE,
  errorMs: 5,
  toldMs: 0,
  ...changes,
});

describe('the witness of clocks', () => {
  let doubts: ClockDoubt[];
  let trustedMs: number;
  const open = () => createClockWitness({ trustedMs: () => trustedMs, onDoubt: (doubt) => void doubts.push(doubt) });
  const change = (n: number, byMs: number) => ({
    computerId: `c${n}`,
    byMs,
    errorMs: 10,
    from: T0 - 2 * MINUTE,
    until: T0 - MINUTE,
  });

  beforeEach(() => {
    doubts = [];
    trustedMs = 0;
  });

  it('knows nothing where nobody else is', () => {
    expect([ALONE.hear(heard(1)), ALONE.majority(T0), ALONE.managerStep(change(1, HOUR))]).to.deep.equal([
      false,
      null,
      0,
    ]);
  });

  it('cannot judge by others at the first word of the first four', () => {
    const witness = open();
    expect([1, 2, 3, 4, 5, 1, 2].map((n) => witness.hear(heard(n)))).to.deep.equal([
      true,
      true,
      true,
      true,
      false,
      false,
      false,
    ]);
  });

  it('hears a report once, however often its batch is tried', () => {
    const witness = open();
    const told = { movedMs: HOUR, toldMs: HOUR };
    for (const n of [1, 2, 3])
      expect([1, 2, 3].map(() => witness.hear(heard(n, told)))).to.deep.equal([true, true, true]);
    expect(witness.hear(heard(1, { ...told, heardAt: T0 + MINUTE, toldMs: 0 }))).to.equal(false);
    // Each told all that it moved by, and not twice as much.
    expect(witness.managerStep(change(4, -HOUR))).to.equal(0);
    expect(witness.managerStep(change(4, HOUR))).to.equal(0);
  });

  it('tells where most stand once an hour, unless the manager stands there too', () => {
    const witness = open();
    for (const n of [1, 2, 3, 4, 5]) witness.hear(heard(n, { aheadMs: 600_000 + n }));
    expect(witness.majority(T0)).to.include({ aheadMs: 600_003, computers: 5, of: 5 });
    witness.majority(T0 + HOUR - 1);
    expect(doubts).to.deep.equal([{ kind: 'beside', offsetMs: 600_003, aheadMs: 600_003, computers: 5, of: 5 }]);
    for (const n of [1, 2, 3, 4, 5]) witness.hear(heard(n, { aheadMs: 600_000 + n, heardAt: T0 + HOUR }));
    expect(witness.majority(T0 + HOUR)).to.not.equal(null);
    expect(doubts).to.have.length(2);
    trustedMs = 599_000;
    expect(witness.majority(T0 + 3 * HOUR)).to.equal(null);
    for (const n of [1, 2, 3, 4, 5]) witness.hear(heard(n, { aheadMs: 600_000, heardAt: T0 + 3 * HOUR }));
    expect(witness.majority(T0 + 3 * HOUR)).to.include({ aheadMs: 600_000 });
    expect(doubts).to.have.length(2);
  });

  it('forgets who was heard long ago, and those who were heard before 512 others', () => {
    const witness = open();
    for (const n of [1, 2, 3, 4, 5]) witness.hear(heard(n, { aheadMs: HOUR }));
    expect(witness.majority(T0 + 30 * MINUTE)).to.not.equal(null);
    expect(witness.majority(T0 + 30 * MINUTE + 1)).to.equal(null);
    for (let n = 6; n < 6 + 512; n += 1) witness.hear(heard(n, { aheadMs: n * HOUR }));
    expect(witness.majority(T0)).to.equal(null);
    expect(witness.hear(heard(1))).to.equal(false);
  });

  it('goes on counting those who report more rarely for two of their own intervals', () => {
    const witness = open();
    // Some of them have just been heard, others nearly two intervals ago.
    for (let n = 0; n < 8; n += 1)
      witness.hear(heard(n, { aheadMs: HOUR, intervalMs: HOUR, heardAt: T0 - n * 15 * MINUTE }));
    expect(witness.majority(T0)).to.include({ aheadMs: HOUR, computers: 8, of: 8 });
    expect(witness.besideMs(T0)).to.equal(HOUR);
    expect(witness.majority(T0 + 15 * MINUTE)).to.include({ of: 8 });
    expect(witness.majority(T0 + 15 * MINUTE + 1000)).to.include({ of: 7 });
    // One that reports every minute is gone all the while.
    witness.hear(heard(9, { aheadMs: HOUR, heardAt: T0 }));
    expect(witness.majority(T0 + 30 * MINUTE + 1)).to.include({ of: 6 });
    expect(witness.majority(T0 + 2 * HOUR)).to.equal(null);
  });

  it('does not take for a doubt what its own clock may have gone wrong by since', () => {
    const witness = open();
    const DAY = 24 * HOUR;
    for (let n = 0; n < 8; n += 1) witness.hear(heard(n, { aheadMs: 9000, intervalMs: DAY }));
    witness.majority(T0 + 2 * DAY);
    expect(doubts).to.deep.equal([]);
    for (let n = 0; n < 8; n += 1) witness.hear(heard(n, { aheadMs: 9000, intervalMs: DAY, heardAt: T0 + 2 * DAY }));
    witness.majority(T0 + 2 * DAY + 1000);
    expect(doubts).to.have.length(1);
  });

  it('counts many once a second', () => {
    const witness = open();
    for (let n = 0; n < 100; n += 1) witness.hear(heard(n, { aheadMs: HOUR }));
    expect(witness.majority(T0)?.computers).to.equal(100);
    for (let n = 0; n < 100; n += 1) witness.hear(heard(n));
    expect(witness.majority(T0 + 999)?.computers).to.equal(100);
    expect(witness.majority(T0 + 1000)).to.include({ aheadMs: 0 });
  });

  it('explains a change that all who were watched show, also to who is heard later', () => {
    const witness = open();
    for (const n of [1, 2, 3]) witness.hear(heard(n, { aheadMs: HOUR, movedMs: HOUR }));
    expect(witness.managerStep(change(1, HOUR))).to.equal(HOUR);
    expect(doubts).to.deep.equal([
      { kind: 'stepped', byMs: HOUR, computers: 3, of: 3, from: T0 - 2 * MINUTE, until: T0 - MINUTE },
    ]);
    // They have been sampled since.
    for (const n of [1, 2, 3]) witness.hear(heard(n, { aheadMs: HOUR, heardAt: T0 + MINUTE, knownAt: T0 }));
    const late = { ...change(9, HOUR + 30), from: T0 - HOUR, until: T0 + HOUR };
    expect(witness.managerStep(late)).to.equal(HOUR);
    expect(witness.managerStep({ ...late, byMs: -HOUR })).to.equal(0);
    expect(witness.managerStep({ ...late, from: T0, until: T0 + HOUR })).to.equal(0);
    expect(doubts).to.have.length(1);
  });

  it('believes who told of a step with an earlier report', () => {
    const witness = open();
    for (const n of [1, 2, 3]) witness.hear(heard(n, { movedMs: HOUR, toldMs: HOUR }));
    for (const n of [1, 2, 3]) witness.hear(heard(n, { movedMs: HOUR, heardAt: T0 + MINUTE }));
    expect(witness.managerStep(change(4, HOUR))).to.equal(0);
    // What was told before the reading that is known explains nothing after it.
    for (const n of [1, 2, 3])
      witness.hear(heard(n, { movedMs: HOUR, heardAt: T0 + 3 * MINUTE, knownAt: T0 + MINUTE }));
    expect(witness.managerStep({ ...change(4, HOUR), from: T0 + MINUTE, until: T0 + 2 * MINUTE })).to.equal(HOUR);
  });
});
