import { expect } from 'chai';
import { Problem } from '../../../lib/problem.js';
import type { Orders, Report } from '../../../protocol/heartbeat-messages.js';
import { BYTES_PER_EVENT, createPeerLimits, PEER_LIMITS } from '../../../server/agent-channel/peer-limits.js';
import { steadyReport } from '../../support/ingest-world.js';

const WEB1 = { computerId: 'web1' };

function world(options: Parameters<typeof createPeerLimits>[0] = {}) {
  const time = { now: 0 };
  return { time, limits: createPeerLimits(options, () => time.now) };
}

function withEvents(count: number): Report {
  const events = Array.from({ length: count }, (_, sequence) => ({
    sequence,
    occurredAt: 0,
    kind: 'k',
    severity: 'info' as const,
    message: '',
  }));
  return { ...steadyReport(0), lanes: [{ lane: 'log', epoch: 'e', events }] };
}

function refusal(action: () => void): { code: string; retryAfterSeconds: number | undefined } | undefined {
  try {
    action();
    return undefined;
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    return { code: error.code, retryAfterSeconds: error.facts.retryAfterSeconds };
  }
}

const orders = (nextContactInMs: number, drain = true) =>
  ({ nextContactInMs, eventQuota: { maxEventsPerReport: 1000, drain } }) as Orders;

describe('the limits of one computer', () => {
  it('let a burst of requests through, then the rate, and touch no other computer', () => {
    const { time, limits } = world();
    for (let n = 0; n < PEER_LIMITS.requestBurst; n += 1) limits.admitRequest('web1');
    expect(refusal(() => limits.admitRequest('web1'))).to.deep.equal({
      code: 'too-many-requests',
      retryAfterSeconds: 1,
    });
    limits.admitRequest('db1');
    time.now += 1000;
    let admitted = 0;
    while (!refusal(() => limits.admitRequest('web1'))) admitted += 1;
    expect(admitted).to.equal(PEER_LIMITS.requestsPerSecond);
  });

  it('stop a thousand events a second, and never a report without events', () => {
    const { time, limits } = world();
    let refused = 0;
    for (let second = 0; second < 30; second += 1) {
      refused += refusal(() => limits.admitEvents('web1', withEvents(1000), 1000)) ? 1 : 0;
      expect(refusal(() => limits.admitEvents('web1', withEvents(0), 1000))).to.equal(undefined);
      time.now += 1000;
    }
    expect(refused).to.be.greaterThan(8);
    expect(refusal(() => limits.admitEvents('db1', withEvents(1000), 1000))).to.equal(undefined);
  });

  it('count events by their size when they are large', () => {
    const { limits } = world();
    const bytes = PEER_LIMITS.eventBurst * BYTES_PER_EVENT;
    expect(refusal(() => limits.admitEvents('web1', withEvents(1), bytes))).to.equal(undefined);
    expect(refusal(() => limits.admitEvents('web1', withEvents(1), 10))?.code).to.equal('too-many-requests');
  });

  it('let a paced backlog drain at the full rate without a refusal, whatever the interval', () => {
    const { time, limits } = world();
    let left = 100_000;
    while (left > 0) {
      const report = withEvents(Math.min(1000, left));
      limits.admitRequest('web1');
      limits.admitEvents('web1', report, 1000);
      left -= 1000;
      const { nextContactInMs, eventQuota } = limits.pace('web1', report, orders(3_600_000));
      time.now += eventQuota.drain ? 50 : nextContactInMs;
    }
    expect(time.now).to.be.within(150_000, 250_000);
  });

  it('leave the orders of a computer without a backlog as they are', () => {
    const { limits } = world({ eventBurst: 10 });
    const given = orders(60_000);
    expect(limits.pace('web1', withEvents(5), given)).to.equal(given);
    const shedding = orders(60_000, false);
    expect(limits.pace('web1', withEvents(1000), shedding)).to.equal(shedding);
  });

  it('close connections beyond the limit, count them by computer or address, and forget those that ended', () => {
    const { limits } = world({ connectionsPerComputer: 2, connectionsPerAddress: 1 });
    const admissions = Array.from({ length: 5 }, () => limits.enter(WEB1));
    expect(admissions).to.deep.equal(['open', 'open', 'refuse', 'refuse', 'cut']);
    expect(limits.enter({ computerId: 'db1' })).to.equal('open');
    expect([1, 2, 3].map(() => limits.enter({ address: '192.0.2.1' }))).to.deep.equal(['open', 'refuse', 'cut']);
    for (let n = 0; n < 5; n += 1) limits.leave(WEB1);
    expect(limits.enter(WEB1)).to.equal('open');
  });
});
