import { expect } from 'chai';
import type { ManagerNote } from '../../../server/events/manager-journal.js';
import { createManagerDrain, type ManagerDrain } from '../../../server/system/drain.js';
import { FakeClock } from '../../support/fake-clock.js';

const SECOND = 1000;

describe('a manager that drains', () => {
  let clock: FakeClock;
  let notes: ManagerNote[];
  let changes: boolean[];
  let drain: ManagerDrain;

  beforeEach(() => {
    [clock, notes, changes] = [new FakeClock(), [], []];
    const log = { info: () => undefined } as never;
    drain = createManagerDrain({ fleetClock: clock, journal: { note: (note) => void notes.push(note) }, log });
    drain.onChange(async () => void changes.push(drain.isOn()));
  });
  const usual = (usualMs = 20 * SECOND) => ({ receivedAt: clock.fleet(), usualMs, intervalMs: 60 * SECOND });
  const leave = (seconds: number, signal = new AbortController().signal) => {
    const leaving = { isOver: false, done: drain.leave(seconds, signal).then(() => void (leaving.isOver = true)) };
    return leaving;
  };

  it('tells agents as usual as long as it does not', () => {
    expect(drain.orderContact(usual())).to.equal(20 * SECOND);
    expect(drain.period()).to.equal(undefined);
  });

  it('tells them to come back after the end, each at another instant', async () => {
    await drain.begin(30);
    const told = Array.from({ length: 40 }, () => drain.orderContact(usual()));
    expect(new Set(told).size).to.equal(40);
    expect(Math.min(...told)).to.be.at.least(30 * SECOND);
    expect(Math.max(...told)).to.be.at.most(60 * SECOND);
    expect(changes).to.deep.equal([true]);
    expect(notes.map(({ kind }) => kind)).to.deep.equal(['drain-begun']);
  });

  it('goes on as before when it is told to, and by itself when nobody stops it', async () => {
    await drain.begin(30);
    await drain.end();
    await drain.end();
    expect(changes).to.deep.equal([true, false]);
    await drain.begin(30);
    await clock.advance(30 * SECOND + 59_999);
    expect(drain.isOn()).to.equal(true);
    expect(drain.orderContact(usual()), 'after its end').to.equal(20 * SECOND);
    await clock.advance(1);
    expect(drain.isOn()).to.equal(false);
    expect(changes).to.deep.equal([true, false, true, false]);
    expect(notes.at(-1)).to.deep.include({ kind: 'drain-ended', data: { why: 'nobody stopped the manager' } });
  });

  it('begun anew keeps its beginning and gets another end', async () => {
    await drain.begin(30);
    const since = clock.fleet();
    await clock.advance(10 * SECOND);
    await drain.begin(100);
    expect(drain.period()).to.include({ since, endsAt: since + 110 * SECOND, resumesAt: since + 210 * SECOND });
  });

  it('leaves after its time, and then for good', async () => {
    const leaving = leave(30);
    await clock.advance(29_999);
    expect([leaving.isOver, drain.period()?.resumesAt]).to.deep.equal([false, null]);
    for (const act of [() => drain.begin(5), () => drain.end()]) {
      const error = await act().catch((thrown: unknown) => thrown);
      expect(error).to.include({ code: 'manager-stopping' });
    }
    await clock.advance(1);
    expect(leaving.isOver).to.equal(true);
    await clock.advance(3600 * SECOND);
    expect(drain.isOn()).to.equal(true);
  });

  it('leaves at once without a time, when it is cut short, and when it has drained already', async () => {
    await leave(0).done;
    expect(drain.isOn()).to.equal(false);
    await drain.begin(30);
    await clock.advance(31 * SECOND);
    await clock.advance(0);
    const after = leave(60);
    await clock.advance(0);
    expect(after.isOver).to.equal(true);
    const aborter = new AbortController();
    const cut = leave(60, aborter.signal);
    aborter.abort();
    await cut.done;
  });
});
