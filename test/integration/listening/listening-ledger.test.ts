import { expect } from 'chai';
import { createLog } from '../../../lib/log.js';
import { createSystemRandom } from '../../../lib/random.js';
import { createHotTransaction, type HotTransaction } from '../../../server/database/hot-transaction.js';
import { createPoolUnitOfWork } from '../../../server/database/in-transaction.js';
import { createListeningLedger } from '../../../server/listening/listening-ledger.js';
import { useDatabase } from '../../support/database.js';
import { FakeClock } from '../../support/fake-clock.js';

describe('the listening ledger', () => {
  const database = useDatabase();
  const random = createSystemRandom();
  const log = createLog({ name: 'test', level: 'silent' });
  let clock: FakeClock;
  let isAway: boolean;

  const inTransaction: HotTransaction = (work, options) => {
    if (isAway) return Promise.reject(new Error('the database is away'));
    return createHotTransaction(createPoolUnitOfWork(database.pool, { clock, random }))(work, options);
  };
  const create = (node: string) =>
    createListeningLedger({ node, inTransaction, fleetClock: clock, log, ingest: { settled: async () => {} } });
  const prove = (ledger: ReturnType<typeof create>, at = clock.fleet()) =>
    inTransaction((sql) => ledger.proveThrough(sql, at));
  const stored = async () => {
    const { rows } = await database.pool.query('SELECT * FROM deaf_spans ORDER BY listener, from_fleet_ms');
    return rows.map((row) => [
      row.listener,
      Number(row.from_fleet_ms) - START,
      Number(row.until_fleet_ms) - START,
      row.cause,
    ]);
  };
  const START = Date.UTC(2026, 10, 21, 12);

  beforeEach(async () => {
    clock = new FakeClock(START);
    isAway = false;
    await database.pool.query('DELETE FROM listeners; DELETE FROM deaf_spans');
  });

  const listening = async (node = 'n1') => {
    const ledger = create(node);
    await ledger.register();
    await ledger.opened();
    return ledger;
  };

  it('stores the time between two lives as process-down, until the port accepts again', async () => {
    const first = await listening();
    for (let second = 0; second < 2; second += 1) {
      await clock.advance(1000);
      await first.renew();
    }
    const second = create('n1');
    await clock.advance(300_000);
    await second.register();
    expect(await prove(second)).to.equal(null);
    await clock.advance(2000);
    await second.opened();
    expect(await stored()).to.deep.equal([['n1', 2000, 304_000, 'process-down']]);
    expect(second.spans()).to.deep.equal([{ from: START + 2000, until: START + 304_000 }]);
    expect(await prove(second)).to.equal(clock.fleet());
  });

  it('refuses the proof of a life that has ended', async () => {
    const first = await listening();
    await clock.advance(1000);
    await listening();
    expect(await prove(first)).to.equal(null);
    await clock.advance(1000);
    await first.renew();
    expect(first.deafness()).not.to.equal(undefined);
    const { rows } = await database.pool.query('SELECT listened_until_fleet_ms FROM listeners');
    expect(Number(rows[0].listened_until_fleet_ms)).to.equal(START + 1000);
  });

  it('is deaf from the last proof while the database is away, until a renewal works', async () => {
    const ledger = await listening();
    await clock.advance(1000);
    await ledger.renew();
    isAway = true;
    for (let second = 0; second < 3; second += 1) {
      await clock.advance(1000);
      await ledger.renew();
    }
    expect(ledger.deafness()).to.deep.equal({ cause: 'database-away', since: START + 1000 });
    isAway = false;
    expect(await prove(ledger)).to.equal(null);
    await clock.advance(1000);
    await ledger.renew();
    expect(await stored()).to.deep.equal([['n1', 1000, 5000, 'database-away']]);
    expect(ledger.spans()).to.deep.equal([{ from: START + 1000, until: START + 5000 }]);
    expect(ledger.deafSeconds()).to.equal(4);
  });

  it('does not count a second in which a heartbeat was turned away', async () => {
    const ledger = await listening();
    let changes = 0;
    ledger.onSpans(() => (changes += 1));
    await clock.advance(1000);
    await ledger.renew();
    await clock.advance(400);
    ledger.noteDeaf('refused-heartbeats');
    expect(await prove(ledger)).to.equal(null);
    await clock.advance(600);
    await ledger.renew();
    expect(await prove(ledger)).to.equal(null);
    await clock.advance(1000);
    await ledger.renew();
    expect(await stored()).to.deep.equal([['n1', 1000, 3000, 'refused-heartbeats']]);
    expect(changes).to.equal(1);
    expect(await prove(ledger)).to.equal(clock.fleet());
  });

  it('notices that the process stood still before anything is proven', async () => {
    const ledger = await listening();
    await clock.advance(1000);
    await ledger.renew();
    await clock.jump(1001);
    expect(await prove(ledger)).to.equal(null);
    await clock.advance(1000);
    await ledger.renew();
    await clock.advance(1000);
    await ledger.renew();
    expect(await stored()).to.deep.equal([['n1', 1000, 4001, 'stalled']]);
  });

  it('takes a late renewal without a span when the process turned all the while', async () => {
    const ledger = await listening();
    for (let second = 0; second < 8; second += 1) {
      await clock.advance(1000);
      ledger.witness();
    }
    await ledger.renew();
    expect(await stored()).to.deep.equal([]);
  });

  it('proves as far as another live listener has proven, and without a dead one', async () => {
    const one = await listening('n1');
    const two = await listening('n2');
    const turn = async () => {
      await clock.advance(1000);
      for (const ledger of [one, two]) ledger.witness();
      await one.renew();
    };
    await turn();
    expect(await prove(one)).to.equal(START);
    await two.renew();
    expect(await prove(one)).to.equal(clock.fleet());
    for (let second = 0; second < 6; second += 1) await turn();
    expect(await prove(one)).to.equal(clock.fleet());
  });

  it('proves in a process without an agent port what the listeners have proven, and nothing without them', async () => {
    const looker = create('jobs');
    expect(await prove(looker)).to.equal(null);
    const one = await listening('n1');
    await clock.advance(700);
    expect(await prove(looker)).to.equal(START);
    await one.renew();
    expect(await prove(looker)).to.equal(START + 700);
    await clock.advance(6000);
    expect(await prove(looker)).to.equal(null);
    expect(looker.spans()).to.deep.equal([{ from: START + 700, until: Number.POSITIVE_INFINITY }]);
  });

  it('takes a time as deaf only where both listeners were', async () => {
    const one = await listening('n1');
    await listening('n2');
    await clock.advance(1000);
    await one.renew();
    expect((await stored()).map(([listener]) => listener)).to.deep.equal(['n2']);
    expect(one.spans()).to.deep.equal([]);
    await clock.advance(60_000);
    const back = await listening('n1');
    expect(back.spans()).to.deep.equal([{ from: START + 1000, until: START + 61_000 }]);
  });

  it('proves its last second when it closes', async () => {
    const ledger = await listening();
    for (let half = 0; half < 3; half += 1) {
      await clock.advance(500);
      ledger.witness();
    }
    await ledger.close();
    expect(await prove(ledger)).to.equal(null);
    const { rows } = await database.pool.query('SELECT listened_until_fleet_ms FROM listeners');
    expect(Number(rows[0].listened_until_fleet_ms)).to.equal(START + 1500);
  });

  it('tells a machine that slept from a process that stood still', async () => {
    const ledger = await listening();
    await clock.advance(1000);
    await ledger.renew();
    clock.suspend(30_000);
    expect(ledger.deafness()).to.deep.equal({ cause: 'suspended', since: START + 1000 });
    for (let second = 0; second < 2; second += 1) {
      await clock.advance(1000);
      await ledger.renew();
    }
    expect(await stored()).to.deep.equal([['n1', 1000, 33_000, 'suspended']]);
  });

  it('tells a process that did not run at all from an event loop that was busy', async () => {
    let turnedMs: number | undefined = 0;
    const node = 'n1';
    const ingest = { settled: async () => {} };
    const deps = { node, inTransaction, fleetClock: clock, log, ingest, otherThreadMs: () => turnedMs };
    const ledger = createListeningLedger(deps);
    await ledger.register();
    await ledger.opened();
    await clock.jump(5000);
    expect(ledger.deafness()?.cause).to.equal('paused');
    await ledger.renew();
    await clock.advance(1000);
    await ledger.renew();
    turnedMs = 4000;
    await clock.jump(5000);
    expect(ledger.deafness()?.cause).to.equal('stalled');
    for (let second = 0; second < 2; second += 1) {
      await clock.advance(1000);
      await ledger.renew();
    }
    // One that was not there before says nothing of the time before.
    turnedMs = undefined;
    expect(ledger.deafness()).to.equal(undefined);
    turnedMs = 9000;
    await clock.jump(5000);
    expect(ledger.deafness()?.cause).to.equal('stalled');
  });

  it('does not blame the database for statements that ran out of time while the process did not run', async () => {
    const deps = { node: 'n1', inTransaction, fleetClock: clock, log, ingest: { settled: async () => {} } };
    const ledger = createListeningLedger({ ...deps, otherThreadMs: () => 0 });
    await ledger.register();
    await ledger.opened();
    isAway = true;
    const renewal = ledger.renew();
    await clock.jump(30_000);
    await renewal;
    ledger.noteDeaf('database-away');
    isAway = false;
    expect(ledger.deafness()?.cause).to.equal('paused');
    for (let second = 0; second < 2; second += 1) {
      await clock.advance(1000);
      await ledger.renew();
    }
    expect(await stored()).to.deep.equal([['n1', 0, 32_000, 'paused']]);
    isAway = true;
    for (const ms of [900, 900]) {
      await clock.advance(ms);
      ledger.witness();
    }
    await ledger.renew();
    ledger.noteDeaf('database-away');
    expect(ledger.deafness()?.cause).to.equal('database-away');
  });

  it('tells of a deafness that is not stored yet, once, and only where no other listens', async () => {
    const ledger = await listening();
    const second = async () => {
      await clock.advance(1000);
      await ledger.renew();
    };
    await second();
    expect(ledger.spansUntilNow()).to.deep.equal([]);
    await clock.jump(20_000);
    expect(ledger.spansUntilNow()).to.deep.equal([{ from: START + 1000, until: START + 21_000 }]);
    expect(ledger.spans()).to.deep.equal([]);
    await second();
    const atChange: unknown[] = [];
    ledger.onSpans(() => atChange.push(ledger.spansUntilNow()));
    await second();
    const span = { from: START + 1000, until: START + 23_000 };
    expect(atChange).to.deep.equal([[span, { from: span.until, until: span.until }]]);
    expect([ledger.spans(), ledger.spansUntilNow()]).to.deep.equal([[span], [span]]);
    await listening('n2');
    await second();
    await clock.jump(20_000);
    expect(ledger.deafness()).not.to.equal(undefined);
    expect(ledger.spansUntilNow()).to.deep.equal([span]);
  });

  it('is deaf from before its last proof where somebody outside knows better, until the cause ends', async () => {
    const ledger = await listening();
    const second = async () => {
      await clock.advance(1000);
      await ledger.renew();
    };
    for (let count = 0; count < 5; count += 1) await second();
    ledger.beginDeaf('not-accepting', START + 2000);
    expect(ledger.deafness()).to.deep.equal({ cause: 'not-accepting', since: START + 2000 });
    expect(await prove(ledger)).to.equal(null);
    ledger.beginDeaf('not-accepting', START + 4000);
    for (let count = 0; count < 3; count += 1) await second();
    expect(await stored()).to.deep.equal([]);
    expect(ledger.recentSpans()).to.deep.equal([{ from: START + 2000, until: START + 8000, cause: 'not-accepting' }]);
    ledger.endDeaf('not-accepting');
    expect(await prove(ledger)).to.equal(null);
    await second();
    expect(await stored()).to.deep.equal([['n1', 2000, 9000, 'not-accepting']]);
    expect(ledger.spans()).to.deep.equal([{ from: START + 2000, until: START + 9000 }]);
    expect(await prove(ledger)).to.equal(clock.fleet());
    expect(ledger.deafSecondsBy()).to.include({ 'not-accepting': 7, stalled: 0 });
  });

  it('tells of a cause that ended before a renewal saw it', async () => {
    const ledger = await listening();
    await clock.advance(1000);
    await ledger.renew();
    ledger.beginDeaf('self-suspicion', START + 500);
    ledger.endDeaf('self-suspicion');
    await clock.advance(1000);
    await ledger.renew();
    expect(await stored()).to.deep.equal([['n1', 500, 2000, 'self-suspicion']]);
  });

  it('proves nothing while the port keeps somebody waiting, and writes no span when it did answer', async () => {
    let isWaiting = false;
    const ingest = { settled: async () => {} };
    const isInDoubt = () => isWaiting;
    const ledger = createListeningLedger({ node: 'n1', inTransaction, fleetClock: clock, log, ingest, isInDoubt });
    await ledger.register();
    await ledger.opened();
    isWaiting = true;
    for (let second = 0; second < 3; second += 1) {
      await clock.advance(1000);
      await ledger.renew();
    }
    expect(await prove(ledger)).to.equal(null);
    const { rows } = await database.pool.query('SELECT listened_until_fleet_ms FROM listeners');
    expect(Number(rows[0].listened_until_fleet_ms)).to.equal(START);
    isWaiting = false;
    expect(await prove(ledger)).to.equal(clock.fleet());
    await ledger.renew();
    expect(await stored()).to.deep.equal([]);
  });

  it('remembers what lives before it stored of themselves', async () => {
    await listening();
    await clock.advance(40_000);
    await listening();
    await clock.advance(20_000);
    const third = await listening();
    expect(third.recentSpans().map(({ from, until }) => [from - START, until - START])).to.deep.equal([
      [0, 40_000],
      [40_000, 60_000],
    ]);
    for (let second = 0; second < 290; second += 1) {
      await clock.advance(1000);
      third.witness();
    }
    expect(third.recentSpans().map(({ from }) => from - START)).to.deep.equal([40_000]);
  });
});
