import { expect } from 'chai';
import { createSystemClock } from '../../../lib/clock.js';
import { Problem } from '../../../lib/problem.js';
import type { Orders } from '../../../protocol/heartbeat-messages.js';
import { createDatabaseBreaker } from '../../../server/database/database-breaker.js';
import type { Exchange } from '../../../server/heartbeats/exchange.js';
import { createIngestMetrics } from '../../../server/heartbeats/ingest-metrics.js';
import { createReportBatcher, type BatcherOptions } from '../../../server/heartbeats/report-batcher.js';
import type { Outcome } from '../../../server/heartbeats/report-service.js';
import { steadyReport, toExchange } from '../../support/ingest-world.js';

const id = (n: number) => `a0000000-0000-4000-8000-${String(n).padStart(12, '0')}`;
const report = (n: number, events = 0): Exchange =>
  toExchange(id(n), 0, {
    ...steadyReport(0),
    lanes: [
      {
        lane: 'log',
        epoch: 'e',
        events: Array.from({ length: events }, (_, sequence) => ({
          sequence,
          occurredAt: 0,
          kind: 'k',
          severity: 'info',
          message: '',
        })),
      },
    ],
  });

/** A store whose batches are finished by the test. */
function heldStore(options: BatcherOptions = {}) {
  const batches: { exchanges: readonly Exchange[]; finish: () => void }[] = [];
  const deaf: string[] = [];
  const time = { now: 0 };
  const breaker = createDatabaseBreaker(() => time.now, 500);
  const batcher = createReportBatcher({
    service: {
      store: (exchanges) =>
        new Promise<readonly Outcome[]>((resolve) => {
          batches.push({ exchanges, finish: () => resolve(exchanges.map(() => ({}) as Orders)) });
        }),
    },
    listening: { noteDeaf: (cause) => void deaf.push(cause) },
    metrics: createIngestMetrics(),
    clock: createSystemClock(),
    breaker,
    options: { gatherMs: 1, ...options },
  });
  const until = async (count: number) => {
    while (batches.length < count) await new Promise(setImmediate);
  };
  return { batcher, batches, deaf, until, breaker, time };
}

const codeOf = (promise: Promise<unknown>) =>
  promise.then(
    () => 'answered',
    (error: unknown) => (error instanceof Problem ? error.code : String(error)),
  );

describe('gathering reports into batches', () => {
  it('puts what arrives together into one batch and answers after it', async () => {
    const { batcher, batches, until } = heldStore();
    const answers = [1, 2, 3].map((n) => codeOf(batcher.submit(report(n))));
    await until(1);
    expect(batches[0]?.exchanges).to.have.length(3);
    batches[0]?.finish();
    expect(await Promise.all(answers)).to.deep.equal(['answered', 'answered', 'answered']);
  });

  it('keeps one report of a computer in flight, in order of arrival', async () => {
    const { batcher, batches, until } = heldStore();
    const [first, second] = [report(1), report(1)];
    const answers = [first, second, report(2)].map((exchange) => codeOf(batcher.submit(exchange)));
    await until(1);
    expect(batches[0]?.exchanges.map(({ identity }) => identity.computerId)).to.deep.equal([id(1), id(2)]);
    batches[0]?.finish();
    await until(2);
    expect(batches[1]?.exchanges).to.deep.equal([second]);
    batches[1]?.finish();
    await Promise.all(answers);
  });

  it('has at most two batches in flight, one of them for a backlog of events', async () => {
    const { batcher, batches, until } = heldStore({ maxReports: 2 });
    const answers = [report(1, 900), report(2, 51), report(3), report(4), report(5)].map((one) =>
      codeOf(batcher.submit(one)),
    );
    await until(2);
    expect(batches.map(({ exchanges }) => exchanges.map(({ identity }) => identity.computerId))).to.deep.equal([
      [id(1), id(2)],
      [id(3), id(4)],
    ]);
    for (let n = 0; n < 3; n += 1) {
      await until(n + 1);
      batches[n]?.finish();
    }
    await Promise.all(answers);
  });

  it('turns away what the queue does not hold, and says that it was deaf', async () => {
    const { batcher, batches, deaf, until } = heldStore({ maxQueued: 2 });
    const answers = [1, 2, 3].map((n) => codeOf(batcher.submit(report(n))));
    expect(await answers[2]).to.equal('unavailable');
    expect(deaf).to.deep.equal(['refused-heartbeats']);
    await until(1);
    batches[0]?.finish();
    expect(await Promise.all(answers.slice(0, 2))).to.deep.equal(['answered', 'answered']);
  });

  it('makes one computer wait that sends without listening, and is not deaf by it', async () => {
    const { batcher, batches, deaf, until } = heldStore();
    const answers = [1, 2, 3, 4].map(() => codeOf(batcher.submit(report(7))));
    expect(await answers[3]).to.equal('too-many-requests');
    expect(deaf).to.deep.equal([]);
    for (let n = 0; n < 3; n += 1) {
      await until(n + 1);
      batches[n]?.finish();
    }
    await Promise.all(answers);
  });

  it('turns all away at once while the database is away, but for one in a while that looks', async () => {
    const { batcher, batches, deaf, until, breaker, time } = heldStore({ maxReports: 1, maxInFlight: 1 });
    const first = codeOf(batcher.submit(report(1)));
    const waiting = codeOf(batcher.submit(report(2)));
    await until(1);
    breaker.note('away');
    expect(breaker.isAway()).to.equal(false);
    breaker.note('away');
    batches[0]?.finish();
    await first;
    expect(await waiting).to.equal('unavailable');
    expect(await codeOf(batcher.submit(report(3)))).to.equal('unavailable');
    expect(deaf).to.deep.equal(['database-away', 'database-away']);
    time.now += 500;
    const looking = codeOf(batcher.submit(report(4)));
    expect(await codeOf(batcher.submit(report(5)))).to.equal('unavailable');
    await until(2);
    breaker.note('there');
    batches[1]?.finish();
    expect(await looking).to.equal('answered');
    const after = codeOf(batcher.submit(report(6)));
    await until(3);
    batches[2]?.finish();
    expect(await after).to.equal('answered');
  });

  it('turns away what is not stored in time, queued or in flight, and says that it was deaf', async () => {
    const { batcher, batches, deaf, until } = heldStore({ maxReports: 1, maxInFlight: 1, answerWithinMs: 240 });
    const answers = [1, 2, 3].map((n) => codeOf(batcher.submit(report(n))));
    expect(await Promise.all(answers)).to.deep.equal(['unavailable', 'unavailable', 'unavailable']);
    expect(new Set(deaf)).to.deep.equal(new Set(['refused-heartbeats']));
    expect(batcher.load()).to.equal(0);
    await batcher.settled();
    const repeat = codeOf(batcher.submit(report(4)));
    batches[0]?.finish();
    await until(2);
    expect(batches[1]?.exchanges.map(({ identity }) => identity.computerId)).to.deep.equal([id(4)]);
    batches[1]?.finish();
    expect(await repeat).to.equal('answered');
  });

  it('has settled when all that was submitted before is answered', async () => {
    const { batcher, batches, until } = heldStore();
    const log: string[] = [];
    void batcher.submit(report(1)).then(() => log.push('answered'));
    const settled = batcher.settled().then(() => log.push('settled'));
    await until(1);
    batches[0]?.finish();
    await settled;
    expect(log).to.deep.equal(['answered', 'settled']);
  });
});
