import { expect } from 'chai';
import type { Orders, Report } from '../../../protocol/heartbeat-messages.js';
import { ComputerTruth } from '../../../scripts/simulate/oracle/computer-truth.js';

const report = (reportId: string, intervalSeconds: number, goodbye?: 'restart' | 'shutdown'): Report =>
  ({ reportId, intervalSeconds, ...(goodbye ? { goodbye: { reason: goodbye } } : {}) }) as unknown as Report;
const orders = (seconds: number | null): Orders =>
  ({
    effect: 'accepted',
    settings: seconds === null ? null : { json: JSON.stringify({ heartbeatIntervalSeconds: seconds }) },
  }) as unknown as Orders;
const row = (reportId: string | null, lastSeenAt: number | null, deliveredMs: number | null = null) => ({
  computerId: 'c',
  reportId,
  lastSeenAt,
  contactDueAt: lastSeenAt === null ? null : lastSeenAt + 60_000,
  deliveredMs,
});

describe('what is true of a computer', () => {
  let truth: ComputerTruth;
  beforeEach(() => {
    truth = new ComputerTruth('c');
  });

  it('is nothing before a report of it is stored', () => {
    truth.submit(report('a', 60), 1000);
    expect(truth.follow(row(null, null))).to.equal(undefined);
    expect(truth.soonest()).to.equal(undefined);
  });

  it('is the receipt of the stored report, whichever of its copies was stored', () => {
    truth.submit(report('a', 60), 1000);
    truth.submit(report('a', 60), 1004);
    expect(truth.follow(row('a', 1000))).to.equal(undefined);
    expect(truth.lastSeenAt).to.equal(1000);
  });

  it('differs from a last seen that was taken from anywhere else', () => {
    truth.submit(report('a', 60), 1000);
    expect(truth.follow(row('a', 990))).to.include('off by -10 ms');
  });

  it('differs from a last seen that goes back', () => {
    truth.submit(report('a', 60), 1000);
    truth.follow(row('a', 1000));
    expect(truth.follow(row('a', 999))).to.include('went back by 1 ms');
  });

  it('counts by the longest of the confirmed interval and those delivered', () => {
    truth.submit(report('a', 60), 1000);
    truth.follow(row('a', 1000));
    truth.answered(orders(120));
    expect(truth.soonest()?.intervalMs).to.equal(120_000);
    truth.answered(orders(30));
    expect(truth.soonest()?.intervalMs).to.equal(120_000);
    truth.submit(report('b', 30), 2000);
    truth.follow(row('b', 2000));
    truth.answered(orders(null));
    expect(truth.soonest()?.intervalMs).to.equal(30_000);
  });

  it('allows what the stored row adds only for the latest instant', () => {
    truth.submit(report('a', 60), 1000);
    truth.follow(row('a', 1000, 90_000));
    expect(truth.soonest()?.intervalMs).to.equal(60_000);
    expect(truth.slowest()?.intervalMs).to.equal(90_000);
  });

  it('knows of an announced return until the next report', () => {
    truth.submit(report('a', 60, 'restart'), 1000);
    truth.follow(row('a', 1000));
    expect(truth.soonest()?.announcedMs).to.equal(300_000);
    truth.submit(report('b', 60, 'shutdown'), 2000);
    truth.follow(row('b', 2000));
    expect(truth.soonest()?.announcedMs).to.equal(0);
  });
});
