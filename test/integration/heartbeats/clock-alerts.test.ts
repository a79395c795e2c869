import { expect } from 'chai';
import type { Report } from '../../../protocol/heartbeat-messages.js';
import { HOUR, MINUTE, NO_CAPABILITY, control, useClocks } from '../../support/clock-world.js';
import { changePolicy } from '../../support/ingest-world.js';

describe('alerts about clocks of computers that were set', () => {
  const clocks = useClocks();
  const { alerts, shown, beat, beatTwice, dismissByHand } = clocks;
  const dismiss = () => clocks.pool.query(`UPDATE alerts SET state = 'dismissed' WHERE computer_id = $1`, [clocks.id]);

  describe('of an agent that tells them', () => {
    it('raises one for a told step, with what is known of it', async () => {
      await beat(0);
      await beat(90_000, control({ sequence: 1, data: { stepMs: 90_000 } }));
      for (let n = 0; n < 3; n += 1) await beat(90_000);
      expect(await shown()).to.deep.equal(['clock-changed raised 1']);
      const detail = (await alerts())[0]?.detail ?? {};
      expect(detail).to.include({
        source: 'agent',
        classification: 'step',
        stepMs: 90_000,
        offsetBeforeMs: 0,
        offsetAfterMs: 90_000,
        limitSeconds: 60,
      });
      expect([Date.parse(String(detail['agentTime'])), Date.parse(String(detail['managerTime']))]).to.deep.equal([
        clocks.ingest.clock.now - 3 * MINUTE + 90_000,
        clocks.ingest.clock.now - 3 * MINUTE,
      ]);
    });

    it('stores every event and raises for none below the limit, without a step, or from another lane', async () => {
      await beat(0, control({ sequence: 1, data: { stepMs: 60_000 } }, { sequence: 2, data: { stepMs: -2000 } }));
      await beat(
        0,
        control({ sequence: 3, data: { stepMs: 'far' } }, { sequence: 4, data: null }, { sequence: 5, code: 7 }),
      );
      const lane = {
        lane: 'detection' as const,
        epoch: 'e1',
        events: control({ sequence: 1 }).lanes?.[0]?.events ?? [],
      };
      await beat(0, { lanes: [lane] });
      const { rows } = await clocks.pool.query(
        `SELECT 1 FROM events WHERE computer_id = $1 AND kind = 'clock-changed'`,
        [clocks.id],
      );
      expect([rows.length, await shown()]).to.deep.equal([6, []]);
    });

    it('counts a second step while the alert is open, and raises anew after it was dismissed', async () => {
      await beat(0, control({ sequence: 1 }));
      await beat(0, control({ sequence: 2 }));
      expect(await shown()).to.deep.equal(['clock-changed raised 2']);
      await dismiss();
      await beat(0);
      await beat(0, control({ sequence: 3 }));
      expect(await shown()).to.deep.equal(['clock-changed dismissed 2', 'clock-changed raised 1']);
    });

    it('raises once for an event that comes again, in a repeat or in another report', async () => {
      await beatTwice(control({ sequence: 1 }));
      await dismiss();
      await beat(0, control({ sequence: 1 }));
      expect(await shown()).to.deep.equal(['clock-changed dismissed 1']);
    });

    it('raises for an event that comes late out of a backlog', async () => {
      for (let n = 0; n < 3; n += 1) await beat(0);
      await beat(0, control({ sequence: 1, occurredAt: clocks.ingest.clock.now - 8 * HOUR }));
      expect(await shown()).to.deep.equal(['clock-changed raised 1']);
    });

    it('raises nothing where the limit is off', async () => {
      await changePolicy(clocks.pool, { clockChangeLimitSeconds: 'unlimited', clockDriftLimitSeconds: 'unlimited' });
      await beat(0, control({ sequence: 1 }));
      await beat(HOUR);
      await beat(HOUR, NO_CAPABILITY);
      expect(await shown()).to.deep.equal([]);
    });
  });

  describe('of an agent that tells none', () => {
    it('raises one for a step above the limit, and none below', async () => {
      await beat(0, NO_CAPABILITY);
      await beat(0, NO_CAPABILITY);
      for (let n = 0; n < 3; n += 1) await beat(55_000, NO_CAPABILITY);
      expect(await shown()).to.deep.equal([]);
      for (let n = 0; n < 3; n += 1) await beat(-20_000, NO_CAPABILITY);
      expect(await shown()).to.deep.equal(['clock-changed raised 1']);
      const detail = (await alerts())[0]?.detail ?? {};
      expect(detail).to.include({ source: 'manager', stepMs: -75_000, offsetBeforeMs: 55_000, offsetAfterMs: -20_000 });
    });

    it('raises for no step of the manager', async () => {
      for (const wallStepMs of [0, HOUR, HOUR, -HOUR, -24 * HOUR, 24 * HOUR, 0, 0]) {
        clocks.ingest.clock.wallStepMs = wallStepMs;
        await beat(0, NO_CAPABILITY);
      }
      expect(await shown()).to.deep.equal([]);
    });
  });

  const dismissed = async () => {
    await dismiss();
    return ['clock-changed dismissed 1'];
  };
  const undisturbed = async () => ['clock-changed raised 1'];

  describe('of a computer that was started again', () => {
    const booted = (uptimeMs: number) => ({ bootId: 'boot-2', uptimeMs });
    /** Two reports, a reboot in which the clock is set, and two more. */
    const reboot = async (aheadMs: number, first: Partial<Report> = {}) => {
      await beat(0);
      await beat(0);
      clocks.ingest.clock.now += MINUTE;
      await beat(aheadMs, { ...booted(MINUTE), ...first });
      await beat(aheadMs, booted(2 * MINUTE));
    };

    it('raises one for a step that the agent could not see, with what is known of it', async () => {
      await reboot(90_000);
      await beat(90_000, booted(3 * MINUTE));
      expect(await shown()).to.deep.equal(['clock-changed raised 1']);
      const detail = (await alerts())[0]?.detail ?? {};
      expect(detail).to.include({ source: 'manager', stepMs: 90_000, offsetBeforeMs: 0, offsetAfterMs: 90_000 });
    });

    it('raises one for a step that the agent tells with the first report', async () => {
      await reboot(90_000, control({ sequence: 1, data: { stepMs: 90_000 } }));
      expect(await shown()).to.deep.equal(['clock-changed raised 1']);
      expect((await alerts())[0]?.detail).to.include({ source: 'agent' });
    });

    it('counts what was set beside what the agent tells', async () => {
      await reboot(90_000 + HOUR, control({ sequence: 1 }));
      expect(await shown()).to.deep.equal(['clock-changed raised 2']);
    });

    for (const meanwhile of [undisturbed, dismissed])
      it(`raises none more for an event that comes after the offset: ${meanwhile.name}`, async () => {
        await reboot(90_000);
        const occurredAt = clocks.ingest.clock.now - MINUTE + 90_000;
        const expected = await meanwhile();
        for (let n = 3; n < 6; n += 1) await beat(90_000, booted(n * MINUTE));
        await beat(90_000, {
          ...booted(6 * MINUTE),
          ...control({ sequence: 1, occurredAt, data: { stepMs: 90_000 } }),
        });
        expect(await shown()).to.deep.equal(expected);
      });

    it('knows the step that an open alert was repeated for', async () => {
      await beat(0, control({ sequence: 1, data: { stepMs: -90_000 } }));
      await reboot(90_000);
      const occurredAt = clocks.ingest.clock.now - MINUTE + 90_000;
      expect(await shown()).to.deep.equal(['clock-changed raised 2']);
      const late = control({ sequence: 2, occurredAt, data: { stepMs: 90_000 } });
      await beat(90_000, { ...booted(3 * MINUTE), ...late });
      expect(await shown()).to.deep.equal(['clock-changed raised 2']);
      expect((await alerts())[0]?.detail).to.include({ source: 'agent', stepMs: -90_000 });
      // Another of that size, made now.
      await beat(0, { ...booted(4 * MINUTE), ...control({ sequence: 3, data: { stepMs: 90_000 } }) });
      expect(await shown()).to.deep.equal(['clock-changed raised 3']);
    });

    it('raises nothing after days without power, whether the clock ran or stood', async () => {
      await beat(0);
      for (const aheadMs of [20_000, -(5 * 24 * HOUR)]) {
        await beat(0);
        clocks.ingest.clock.now += 5 * 24 * HOUR;
        await beat(aheadMs, booted(30_000));
        await beat(aheadMs, booted(90_000));
        await beat(0, booted(150_000));
        await beat(0, { bootId: 'boot-1' });
        await beat(0, { bootId: 'boot-1' });
      }
      expect((await shown()).filter((alert) => alert.startsWith('clock-changed'))).to.deep.equal([]);
    });

    it('raises for a clock that starts in 1970', async () => {
      await beat(0);
      await beat(0);
      await beat(-clocks.ingest.clock.now, booted(30_000));
      await beat(-clocks.ingest.clock.now, booted(90_000));
      expect(await shown()).to.deep.equal(['clock-changed raised 1']);
    });
  });

  describe('of an agent whose events wait in its spool', () => {
    const stepBy = async (aheadMs: number) => {
      await beat(0);
      await beat(0);
      for (let n = 0; n < 3; n += 1) await beat(aheadMs);
      return clocks.ingest.clock.now - 2 * MINUTE + aheadMs;
    };

    for (const stepMs of [HOUR, -HOUR])
      it(`raises one for a step of ${stepMs} ms above both limits, which is a drift until it is told`, async () => {
        const occurredAt = await stepBy(stepMs);
        expect(await shown()).to.deep.equal(['clock-drift raised 1']);
        const [drift] = await alerts();
        await beat(stepMs, control({ sequence: 1, occurredAt, data: { stepMs } }));
        await beat(stepMs);
        expect(await shown()).to.deep.equal(['clock-changed raised 1']);
        const [changed] = await alerts();
        expect([changed?.id, changed?.raised]).to.deep.equal([drift?.id, drift?.raised]);
        expect(changed?.detail).to.include({ source: 'agent', stepMs });
        await dismissByHand();
        expect(await shown()).to.deep.equal(['clock-changed dismissed 1', 'clock-drift raised 1']);
      });

    it('raises the step beside a drift that was open before it', async () => {
      for (let n = 0; n < 3; n += 1) await beat(400_000);
      for (let n = 0; n < 3; n += 1) await beat(400_000 + HOUR);
      const occurredAt = clocks.ingest.clock.now - 2 * MINUTE + 400_000 + HOUR;
      await beat(400_000 + HOUR, control({ sequence: 1, occurredAt }));
      expect(await shown()).to.deep.equal(['clock-drift raised 1', 'clock-changed raised 1']);
    });

    it('raises the step where the clock was put right before it is told', async () => {
      const occurredAt = await stepBy(HOUR);
      await beat(0);
      await beat(0);
      expect(await shown()).to.deep.equal(['clock-drift resolved 1']);
      await beat(0, control({ sequence: 1, occurredAt }, { sequence: 2, data: { stepMs: -HOUR } }));
      expect(await shown()).to.deep.equal(['clock-drift resolved 1', 'clock-changed raised 2']);
    });

    it('raises one for a step above the first limit only when it is told', async () => {
      const occurredAt = await stepBy(90_000);
      expect(await shown()).to.deep.equal([]);
      await beat(90_000, control({ sequence: 1, occurredAt, data: { stepMs: 90_000 } }));
      expect(await shown()).to.deep.equal(['clock-changed raised 1']);
    });

    it('takes several told steps for the one that the readings show', async () => {
      await beat(0);
      await beat(0);
      await beat(
        HOUR,
        control({ sequence: 1, data: { stepMs: 3 * HOUR } }, { sequence: 2, data: { stepMs: -2 * HOUR } }),
      );
      for (let n = 0; n < 2; n += 1) await beat(HOUR);
      expect(await shown()).to.deep.equal(['clock-changed raised 2']);
    });
  });
});
