import { expect } from 'chai';
import { createSystemRandom } from '../../../lib/random.js';
import { createAlertWriter } from '../../../server/alerts/alert-writer.js';
import { createHotTransaction, type HotTransaction } from '../../../server/database/hot-transaction.js';
import { createPoolUnitOfWork } from '../../../server/database/in-transaction.js';
import type { DeafCause, NamedDeafSpan } from '../../../server/listening/listening.js';
import { createManagerWatch, type ManagerWatch } from '../../../server/system/manager-watch.js';
import { useDatabase } from '../../support/database.js';
import { FakeClock } from '../../support/fake-clock.js';

const START = Date.UTC(2026, 10, 21, 12);

describe('the watch of the manager itself', () => {
  const database = useDatabase();
  const random = createSystemRandom();
  let clock: FakeClock;
  let isAway: boolean;
  let spans: NamedDeafSpan[];
  let deaf: { cause: DeafCause; since: number } | undefined;
  let worstLagMs: number;
  let clocksBesideMs: number | null;
  let watch: ManagerWatch;

  const create = (): ManagerWatch => {
    const inTransaction = createHotTransaction(createPoolUnitOfWork(database.pool, { clock, random }));
    const away: HotTransaction = (work, options) =>
      isAway ? Promise.reject(new Error('the database is away')) : inTransaction(work, options);
    return createManagerWatch({
      node: 'n1',
      ledger: { recentSpans: () => spans, deafness: () => deaf },
      lag: { worstMs: () => worstLagMs },
      clocksBesideMs: () => clocksBesideMs,
      alerts: createAlertWriter({ random }),
      inTransaction: away,
      fleetClock: clock,
    });
  };

  beforeEach(async () => {
    clock = new FakeClock(START);
    [isAway, spans, deaf, worstLagMs, clocksBesideMs] = [false, [], undefined, 0, null];
    await database.pool.query('DELETE FROM alert_outbox; DELETE FROM alerts');
    watch = create();
  });

  const alerts = async () => {
    const { rows } = await database.pool.query('SELECT * FROM alerts ORDER BY raised_fleet_ms');
    return rows.map((row) => ({
      state: row.state as string,
      reason: row.reason as string,
      subject: row.subject as string,
      computerId: row.computer_id as string | null,
      severity: row.severity as string,
      raisedAt: Number(row.raised_fleet_ms) - START,
      closedAt: row.closed_fleet_ms === null ? null : Number(row.closed_fleet_ms) - START,
      detail: row.detail as Record<string, unknown>,
    }));
  };
  const span = (from: number, until: number, cause: DeafCause): NamedDeafSpan => ({
    from: START + from,
    until: START + until,
    cause,
  });
  const lookAt = async (at: number) => {
    await clock.advance(START + at - clock.fleet());
    await watch.look();
  };

  it('raises with its evidence when more than 30 of 300 seconds were deaf, and resolves when they are past', async () => {
    await lookAt(1000);
    spans = [span(10_000, 42_000, 'paused')];
    await lookAt(43_000);
    expect(await alerts()).to.deep.equal([
      {
        state: 'raised',
        reason: 'deaf',
        subject: 'n1',
        computerId: null,
        severity: 'high',
        raisedAt: 43_000,
        closedAt: null,
        detail: {
          node: 'n1',
          deafSeconds: 32,
          deafSecondsByCause: { paused: 32 },
          spans: [{ from: '2026-11-21T12:00:10.000Z', until: '2026-11-21T12:00:42.000Z', cause: 'paused' }],
          schedulerLagSeconds: 0,
        },
      },
    ]);
    for (let at = 44_000; at <= 311_000; at += 1000) await lookAt(at);
    expect((await alerts()).map(({ state }) => state)).to.deep.equal(['raised']);
    await lookAt(312_000);
    expect((await alerts()).map(({ state, closedAt }) => [state, closedAt])).to.deep.equal([['resolved', 312_000]]);
  });

  it('completes its evidence once what went on when it was raised is over, and only then', async () => {
    await lookAt(1000);
    worstLagMs = 8000;
    spans = [span(2000, 11_000, 'paused')];
    await lookAt(11_000);
    const shown = async () => {
      const { rows } = await database.pool.query(
        `SELECT raised_fleet_ms::float8 AS raised, occurrences, xmin::text AS version,
           detail -> 'deafSeconds' AS deaf, detail -> 'schedulerLagSeconds' AS lag FROM alerts`,
      );
      return rows.map(({ raised, ...row }) => ({ ...row, raised: raised - START }));
    };
    const [before] = await shown();
    expect(before).to.include({ raised: 11_000, occurrences: 1, deaf: 9, lag: 8 });
    spans = [span(2000, 12_000, 'paused')];
    await lookAt(12_000);
    spans = [span(2000, 12_500, 'paused')];
    worstLagMs = 9000;
    await lookAt(13_000);
    expect(await shown()).to.deep.equal([before]);
    await lookAt(14_000);
    const [after] = await shown();
    expect(after).to.include({ raised: 11_000, occurrences: 1, deaf: 10.5, lag: 9 });
    for (let at = 15_000; at <= 300_000; at += 1000) await lookAt(at);
    // What leaves the window was there all the same.
    await lookAt(308_000);
    expect(await shown()).to.deep.equal([after]);
    const { rows } = await database.pool.query('SELECT change FROM alert_outbox');
    expect(rows).to.deep.equal([{ change: 'raised' }]);
  });

  it('raises for verdicts that nobody looks for', async () => {
    worstLagMs = 5001;
    await lookAt(1000);
    const [alert] = await alerts();
    expect([alert?.reason, alert?.detail['schedulerLagSeconds']]).to.deep.equal(['scheduler-lag', 5.001]);
  });

  it('shows the clocks of the computers that stand beside its own only after it was raised for another reason', async () => {
    const shown = async () =>
      (await alerts()).map(({ reason, raisedAt, detail }) => [reason, raisedAt, detail['clocksBesideSeconds']]);
    worstLagMs = 9000;
    await lookAt(1000);
    await lookAt(2000);
    expect(await shown()).to.deep.equal([['scheduler-lag', 1000, undefined]]);
    clocksBesideMs = -400_100;
    await lookAt(3000);
    await lookAt(4000);
    expect(await shown()).to.deep.equal([['scheduler-lag', 1000, -400]]);
    clocksBesideMs = -400_900;
    await lookAt(5000);
    await lookAt(6000);
    expect(await shown()).to.deep.equal([['scheduler-lag', 1000, -400]]);
    clocksBesideMs = 500_000;
    await lookAt(7000);
    await lookAt(8000);
    expect(await shown()).to.deep.equal([['scheduler-lag', 1000, 500]]);
  });

  it('raises once the database is back, with the instant at which it began', async () => {
    deaf = { cause: 'database-away', since: START };
    isAway = true;
    for (let at = 1000; at <= 60_000; at += 1000) {
      spans = [span(0, at, 'database-away')];
      await lookAt(at);
    }
    isAway = false;
    deaf = undefined;
    await lookAt(61_000);
    expect((await alerts()).map(({ state, raisedAt }) => [state, raisedAt])).to.deep.equal([['raised', 31_000]]);
  });

  it('tells of what was over before it could be stored', async () => {
    await lookAt(0);
    isAway = true;
    worstLagMs = 9000;
    await clock.advance(1000);
    await watch.look().catch(() => undefined);
    worstLagMs = 0;
    isAway = false;
    await lookAt(2000);
    expect((await alerts()).map(({ state, raisedAt, closedAt }) => [state, raisedAt, closedAt])).to.deep.equal([
      ['resolved', 1000, 2000],
    ]);
    await lookAt(3000);
    expect(await alerts()).to.have.lengthOf(1);
  });

  it('resolves what a life before left open, and keeps what goes on', async () => {
    worstLagMs = 9000;
    await lookAt(1000);
    watch = create();
    await lookAt(5000);
    expect((await alerts()).map(({ state, raisedAt }) => [state, raisedAt])).to.deep.equal([['raised', 1000]]);
    worstLagMs = 0;
    watch = create();
    await lookAt(9000);
    expect((await alerts()).map(({ state }) => state)).to.deep.equal(['resolved']);
  });
});
