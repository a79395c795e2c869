import { expect } from 'chai';
import { HOUR, MINUTE, NO_CAPABILITY, control, useClocks } from '../../support/clock-world.js';
import { changePolicy } from '../../support/ingest-world.js';
import { eventually } from '../../support/poll.js';

describe('alerts about clocks of computers that drift', () => {
  const clocks = useClocks();
  const { alerts, shown, beat, dismissByHand } = clocks;

  describe('of one step above both limits', () => {
    const ways = [
      { name: 'that the agent tells', changes: {}, step: () => control({ sequence: 1 }) },
      { name: 'that the manager finds', changes: NO_CAPABILITY, step: () => NO_CAPABILITY },
    ] as const;
    const isDrifting = async (): Promise<boolean> => {
      const { rows } = await clocks.pool.query(
        'SELECT is_clock_drifting AS drifting FROM computer_live WHERE computer_id = $1',
        [clocks.id],
      );
      return rows[0].drifting;
    };

    for (const { name, changes, step } of ways)
      describe(name, () => {
        beforeEach(async () => {
          await beat(0, changes);
          await beat(0, changes);
          await beat(HOUR, step());
          for (let n = 0; n < 3; n += 1) await beat(HOUR, changes);
        });

        it('raises exactly one, and makes no statement more for steady reports', async () => {
          expect([await shown(), await isDrifting()]).to.deep.equal([['clock-changed raised 1'], true]);
          const before = clocks.ingest.metrics.statements;
          await beat(HOUR, changes);
          expect(clocks.ingest.metrics.statements - before).to.equal(4);
        });

        it('raises the drift when that one is dismissed while the clock is still wrong', async () => {
          clocks.ingest.clock.now += 1234;
          await dismissByHand();
          for (let n = 0; n < 2; n += 1) await beat(HOUR, changes);
          expect(await shown()).to.deep.equal(['clock-changed dismissed 1', 'clock-drift raised 1']);
          const dismissedAt = clocks.ingest.clock.now - 2 * MINUTE;
          const drift = (await alerts())[1];
          expect(drift?.raised).to.equal(dismissedAt);
          const { advice, ...detail } = drift?.detail ?? {};
          expect(advice).to.have.length.above(0);
          expect(detail).to.deep.equal({
            classification: 'time-zone-or-dst',
            means:
              'the offset is 3,600 s: a time zone or DST setting on a computer whose hardware clock is in local time',
            offsetMs: HOUR,
            errorMs: 8,
            limitSeconds: 300,
            agentTime: new Date(dismissedAt + HOUR).toISOString(),
            managerTime: new Date(dismissedAt).toISOString(),
          });
        });

        it('raises no drift when it is dismissed after the clock was put right', async () => {
          const back = changes === NO_CAPABILITY ? NO_CAPABILITY : control({ sequence: 2, data: { stepMs: -HOUR } });
          await beat(0, back);
          for (let n = 0; n < 2; n += 1) await beat(0, changes);
          await dismissByHand();
          await beat(0, changes);
          expect([await shown(), await isDrifting()]).to.deep.equal([['clock-changed dismissed 2'], false]);
        });
      });

    const setWrong = async () => {
      await beat(0);
      await beat(HOUR, control({ sequence: 1 }));
      for (let n = 0; n < 2; n += 1) await beat(HOUR);
    };

    it('resolves the drift that a dismissal raised once the clock comes right', async () => {
      await setWrong();
      await dismissByHand();
      for (let n = 0; n < 3; n += 1) await beat(0);
      expect(await shown()).to.deep.equal(['clock-changed dismissed 1', 'clock-drift resolved 1']);
    });

    it('keeps a drift that was open before the step, and counts the dismissal as none', async () => {
      for (let n = 0; n < 3; n += 1) await beat(400_000);
      await beat(HOUR, control({ sequence: 1 }));
      await beat(HOUR);
      await dismissByHand();
      await beat(HOUR);
      expect(await shown()).to.deep.equal(['clock-drift raised 1', 'clock-changed dismissed 1']);
    });

    it('judges a dismissal by the limits in force, and the next report anew', async () => {
      await setWrong();
      await changePolicy(clocks.pool, { clockDriftLimitSeconds: 'unlimited' });
      await dismissByHand();
      expect([await shown(), await isDrifting()]).to.deep.equal([['clock-changed dismissed 1'], false]);
      await changePolicy(clocks.pool, {});
      await beat(HOUR);
      expect(await shown()).to.deep.equal(['clock-changed dismissed 1', 'clock-drift raised 1']);
    });

    it('raises the drift once where report and dismissal meet', async () => {
      await beat(0);
      await beat(HOUR, control({ sequence: 1 }));
      const holder = await clocks.pool.connect();
      try {
        await holder.query('BEGIN');
        await holder.query('SELECT 1 FROM computer_live WHERE computer_id = $1 FOR UPDATE', [clocks.id]);
        const both = [beat(HOUR), dismissByHand()];
        await eventually('both wait for the live row', async () => {
          const { rows } = await clocks.pool.query(
            `SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'`,
          );
          return rows.length === both.length;
        });
        await holder.query('COMMIT');
        await Promise.all(both);
      } finally {
        holder.release();
      }
      expect(await shown()).to.deep.equal(['clock-changed dismissed 1', 'clock-drift raised 1']);
    });
  });

  it('raises one for a drift that accumulates, and resolves it by itself', async () => {
    for (let aheadMs = 0; aheadMs < 400_000; aheadMs += 20_000) await beat(aheadMs, NO_CAPABILITY);
    expect(await shown()).to.deep.equal(['clock-drift raised 1']);
    for (let aheadMs = 380_000; aheadMs > 200_000; aheadMs -= 20_000) await beat(aheadMs, NO_CAPABILITY);
    expect(await shown()).to.deep.equal(['clock-drift resolved 1']);
  });

  it('raises for a limit that is lowered below what stands, and resolves when it is raised', async () => {
    await beat(100_000);
    await beat(100_000);
    await changePolicy(clocks.pool, { clockDriftLimitSeconds: 60 });
    await beat(100_000);
    await beat(100_000);
    expect(await shown()).to.deep.equal(['clock-drift raised 1']);
    await changePolicy(clocks.pool, { clockDriftLimitSeconds: 'unlimited' });
    await beat(100_000);
    expect(await shown()).to.deep.equal(['clock-drift resolved 1']);
  });

  it('makes no statement more for a steady report of a clock that drifts', async () => {
    await beat(HOUR);
    await beat(HOUR);
    await beat(HOUR);
    const before = clocks.ingest.metrics.statements;
    await beat(HOUR);
    const steady = clocks.ingest.metrics.statements - before;
    expect(await shown()).to.deep.equal(['clock-drift raised 1']);
    expect(steady).to.equal(4);
  });
});
