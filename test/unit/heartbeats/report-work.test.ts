import { expect } from 'chai';
import { EventRate } from '../../../policies/event-rate.js';
import type { Lane, Report } from '../../../protocol/heartbeat-messages.js';
import { createEventRates } from '../../../server/heartbeats/event-rates.js';
import { takeLanes } from '../../../server/heartbeats/report-work.js';
import { steadyReport, toExchange } from '../../support/ingest-world.js';

const NOW = 1_790_000_000_000;
const ID = 'a0000000-0000-4000-8000-000000000001';
const MINUTE = 60_000;

function batch(lane: Lane, sequences: readonly number[], { agoMs = 0, clockMs = 0 } = {}): Report['lanes'][number] {
  const events = sequences.map((sequence) => ({
    sequence,
    occurredAt: NOW + clockMs - agoMs,
    kind: lane,
    severity: 'info' as const,
    message: 'm',
  }));
  return { lane, epoch: 'e', events };
}

const range = (from: number, count: number): number[] => Array.from({ length: count }, (_, index) => from + index);

function take(lanes: Report['lanes'], given?: { rate: EventRate; perMinute: number }, clockMs = 0) {
  const report = { ...steadyReport(NOW), sequence: 1, lanes, agentTime: NOW + clockMs };
  const limit = given && { rate: () => given.rate, perMinute: given.perMinute };
  return takeLanes(toExchange(ID, NOW, report), new Map(), { admits: () => true, ...(limit ? { limit } : {}) });
}

describe('taking the lanes of a report', () => {
  it('takes a prefix of a lane, up to where the limit has no place, and says how far', () => {
    const work = take([batch('log', range(5, 100))], { rate: new EventRate(), perMinute: 10 });
    // A minute that has not begun is lent, since the agent counts by minutes of its own.
    expect(work.events.map(({ sequence }) => sequence)).to.deep.equal(range(5, 20));
    expect(work.acknowledged).to.deep.equal([{ lane: 'log', epoch: 'e', position: 24 }]);
    expect(work.positions.map(({ position }) => position)).to.deep.equal([24]);
    expect(work.heldBack).to.equal(80);
  });

  it('counts nothing before it is kept', () => {
    const rate = new EventRate();
    const first = take([batch('log', range(0, 20))], { rate, perMinute: 10 });
    expect(take([batch('log', range(0, 20))], { rate, perMinute: 10 }).heldBack).to.equal(0);
    expect(take([batch('log', range(0, 20))], { rate: first.rate!, perMinute: 10 }).heldBack).to.equal(20);
  });

  it('takes lane control whatever the limit', () => {
    const work = take([batch('control', range(0, 300)), batch('detection', [0])], {
      rate: new EventRate(),
      perMinute: 0,
    });
    expect(work.events).to.have.length(300);
    expect(work.acknowledged).to.deep.equal([
      { lane: 'control', epoch: 'e', position: 299 },
      { lane: 'detection', epoch: 'e', position: -1 },
    ]);
  });

  it('takes a backlog at once that was within the limit when it occurred, by the age of its events', () => {
    for (const clockMs of [0, -86_400_000, 86_400_000]) {
      const rate = new EventRate();
      const old = range(0, 50).map((sequence) =>
        batch('log', [sequence], { agoMs: (60 - sequence) * MINUTE, clockMs }),
      );
      const events = old.flatMap(({ events: one }) => one);
      const work = take([{ lane: 'log', epoch: 'e', events }], { rate, perMinute: 1 }, clockMs);
      expect(work.heldBack, `clock off by ${clockMs}`).to.equal(0);
    }
  });

  it('takes what claims to come from the future for new', () => {
    const work = take([batch('log', range(0, 50), { agoMs: -86_400_000 })], { rate: new EventRate(), perMinute: 10 });
    expect(work.events).to.have.length(20);
  });

  it('asks for the rate only of who sends what is limited: the others would push it out of memory', () => {
    const asked: string[] = [];
    const take = (lanes: Report['lanes']) => {
      const report = { ...steadyReport(NOW), sequence: 1, lanes, agentTime: NOW };
      const limit = { rate: () => (asked.push('rate'), new EventRate()), perMinute: 10 };
      return takeLanes(toExchange(ID, NOW, report), new Map(), { admits: () => true, limit });
    };
    expect(take([]).rate).to.equal(undefined);
    expect(take([batch('log', []), batch('control', [0, 1])]).rate).to.equal(undefined);
    expect(asked).to.deep.equal([]);
    expect(take([batch('log', [0, 1]), batch('metric', [0, 1])]).rate).to.be.instanceOf(EventRate);
    expect(asked).to.deep.equal(['rate']);
  });

  it('is kept for each computer apart', () => {
    const rates = createEventRates();
    const { rate } = take([batch('log', range(0, 20))], { rate: rates.of('web1'), perMinute: 10 });
    rates.keep('web1', rate!);
    const left = (id: string) => take([batch('log', range(20, 20))], { rate: rates.of(id), perMinute: 10 }).heldBack;
    expect([left('web1'), left('web2')]).to.deep.equal([20, 0]);
  });
});
