import { expect } from 'chai';
import { randomUUID } from 'node:crypto';
import type { AgentEvent, Report } from '../../../protocol/heartbeat-messages.js';
import { createSystemRandom } from '../../../lib/random.js';
import type { Actor } from '../../../server/access/actor.js';
import { Scope } from '../../../server/access/scope.js';
import { createAlertService, type AlertService } from '../../../server/alerts/alert-service.js';
import { createAlertOutbox } from '../../../server/alerts/alert-outbox.js';
import { createAlertWriter } from '../../../server/alerts/alert-writer.js';
import { createUnitOfWork } from '../../../server/database/in-transaction.js';
import { createCoveredDrift } from '../../../server/heartbeats/covered-drift.js';
import { useDatabase } from '../../support/database.js';
import { eventually } from '../../support/poll.js';
import {
  addComputers,
  changePolicy,
  createIngestWorld,
  seedForest,
  type IngestWorld,
} from '../../support/ingest-world.js';

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const ADA: Actor = { kind: 'user', id: 'ada', name: 'ada', role: 'administrator', sourceAddress: null };
/** Stands for the agent's clock when it tells the event. */
const NOW_BY_AGENT = -1;
const NO_CAPABILITY = { capabilities: [] as string[] };

interface AlertRow {
  readonly type: string;
  readonly state: string;
  readonly occurrences: number;
  readonly id: string;
  readonly raised: number;
  readonly detail: Record<string, unknown>;
}

describe('alerts about the clocks of computers', () => {
  const database = useDatabase();
  let world: IngestWorld;
  let service: AlertService;
  let id: string;

  before(async () => {
    await seedForest(database.pool);
    world = createIngestWorld(database.pool);
    const { clock, settings } = world;
    const random = createSystemRandom();
    service = createAlertService({
      outbox: createAlertOutbox({ random }),
      fleetClock: clock,
      inTransaction: createUnitOfWork(database.dataSource, { clock, random }),
      audit: { append: async () => undefined },
      covered: createCoveredDrift({ alerts: createAlertWriter({ random }), settings, fleetClock: clock }),
    });
  });

  beforeEach(async () => {
    [id = ''] = await addComputers(database.pool, 1);
    world.clock.wallStepMs = 0;
    await changePolicy(database.pool, {});
  });

  const alerts = async (): Promise<AlertRow[]> => {
    const { rows } = await database.pool.query<AlertRow>(
      `SELECT id, type, state, occurrences, detail, raised_fleet_ms::float8 AS raised FROM alerts
       WHERE computer_id = $1 AND type LIKE 'clock-%' ORDER BY raised_fleet_ms, type`,
      [id],
    );
    return rows;
  };
  const shown = async () => (await alerts()).map(({ type, state, occurrences }) => `${type} ${state} ${occurrences}`);

  let previous: Report['previousExchange'];
  let sequence = 0;
  let applied = '0'.repeat(64);
  beforeEach(() => {
    previous = undefined;
    sequence = 0;
  });

  /** A minute later, by an agent that is ahead by so much. */
  async function beat(aheadMs: number, changes: Partial<Report> = {}) {
    world.clock.now += MINUTE;
    const agentTime = world.clock.now + aheadMs;
    sequence += 1;
    const told = previous ? { previousExchange: previous } : {};
    const lanes = (changes.lanes ?? []).map((batch) => ({
      ...batch,
      events: batch.events.map((event) => ({
        ...event,
        occurredAt: event.occurredAt === NOW_BY_AGENT ? agentTime : event.occurredAt,
      })),
    }));
    const facts = { sequence, agentTime, appliedFingerprint: applied };
    const orders = await world.beat(id, { ...facts, ...told, ...changes, lanes });
    applied = orders.settings?.fingerprint ?? applied;
    previous = { sequence, sentAt: agentTime - 5, receivedAt: agentTime + 5 };
  }
  const dismiss = () => database.pool.query(`UPDATE alerts SET state = 'dismissed' WHERE computer_id = $1`, [id]);

  const control = (...events: readonly (Partial<AgentEvent> & { sequence: number })[]): Partial<Report> => ({
    lanes: [
      {
        lane: 'control',
        epoch: 'e1',
        events: events.map((event) => ({
          occurredAt: NOW_BY_AGENT,
          kind: 'clock-changed',
          code: 5004,
          severity: 'medium',
          message: 'set',
          data: { stepMs: HOUR },
          ...event,
        })),
      },
    ],
  });

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
        world.clock.now - 3 * MINUTE + 90_000,
        world.clock.now - 3 * MINUTE,
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
      const { rows } = await database.pool.query(
        `SELECT 1 FROM events WHERE computer_id = $1 AND kind = 'clock-changed'`,
        [id],
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
      const report = world.report(id, { ...control({ sequence: 1 }), reportId: randomUUID() });
      sequence = 1;
      await world.batcher.submit(report);
      await world.batcher.submit(report);
      await dismiss();
      await beat(0, control({ sequence: 1 }));
      expect(await shown()).to.deep.equal(['clock-changed dismissed 1']);
    });

    it('raises for an event that comes late out of a backlog', async () => {
      for (let n = 0; n < 3; n += 1) await beat(0);
      await beat(0, control({ sequence: 1, occurredAt: world.clock.now - 8 * HOUR }));
      expect(await shown()).to.deep.equal(['clock-changed raised 1']);
    });

    it('raises nothing where the limit is off', async () => {
      await changePolicy(database.pool, { clockChangeLimitSeconds: 'unlimited', clockDriftLimitSeconds: 'unlimited' });
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
        world.clock.wallStepMs = wallStepMs;
        await beat(0, NO_CAPABILITY);
      }
      expect(await shown()).to.deep.equal([]);
    });
  });

  const dismissByHand = async () => {
    const open = (await alerts()).find(({ type, state }) => type === 'clock-changed' && state !== 'dismissed');
    await service.dismiss({ id: open?.id ?? '', actor: ADA, scope: Scope.all, comment: undefined });
  };
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
      world.clock.now += MINUTE;
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
        const occurredAt = world.clock.now - MINUTE + 90_000;
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
      const occurredAt = world.clock.now - MINUTE + 90_000;
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
        world.clock.now += 5 * 24 * HOUR;
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
      await beat(-world.clock.now, booted(30_000));
      await beat(-world.clock.now, booted(90_000));
      expect(await shown()).to.deep.equal(['clock-changed raised 1']);
    });
  });

  describe('of an agent whose events wait in its spool', () => {
    const stepBy = async (aheadMs: number) => {
      await beat(0);
      await beat(0);
      for (let n = 0; n < 3; n += 1) await beat(aheadMs);
      return world.clock.now - 2 * MINUTE + aheadMs;
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
      const occurredAt = world.clock.now - 2 * MINUTE + 400_000 + HOUR;
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

  describe('of one step above both limits', () => {
    const ways = [
      { name: 'that the agent tells', changes: {}, step: () => control({ sequence: 1 }) },
      { name: 'that the manager finds', changes: NO_CAPABILITY, step: () => NO_CAPABILITY },
    ] as const;
    const isDrifting = async (): Promise<boolean> => {
      const { rows } = await database.pool.query(
        'SELECT is_clock_drifting AS drifting FROM computer_live WHERE computer_id = $1',
        [id],
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
          const before = world.metrics.statements;
          await beat(HOUR, changes);
          expect(world.metrics.statements - before).to.equal(4);
        });

        it('raises the drift when that one is dismissed while the clock is still wrong', async () => {
          world.clock.now += 1234;
          await dismissByHand();
          for (let n = 0; n < 2; n += 1) await beat(HOUR, changes);
          expect(await shown()).to.deep.equal(['clock-changed dismissed 1', 'clock-drift raised 1']);
          const dismissedAt = world.clock.now - 2 * MINUTE;
          const drift = (await alerts())[1];
          expect(drift?.raised).to.equal(dismissedAt);
          expect(drift?.detail).to.deep.equal({
            classification: 'drift',
            offsetMs: HOUR,
            errorMs: 5,
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
      await changePolicy(database.pool, { clockDriftLimitSeconds: 'unlimited' });
      await dismissByHand();
      expect([await shown(), await isDrifting()]).to.deep.equal([['clock-changed dismissed 1'], false]);
      await changePolicy(database.pool, {});
      await beat(HOUR);
      expect(await shown()).to.deep.equal(['clock-changed dismissed 1', 'clock-drift raised 1']);
    });

    it('raises the drift once where report and dismissal meet', async () => {
      await beat(0);
      await beat(HOUR, control({ sequence: 1 }));
      const holder = await database.pool.connect();
      try {
        await holder.query('BEGIN');
        await holder.query('SELECT 1 FROM computer_live WHERE computer_id = $1 FOR UPDATE', [id]);
        const both = [beat(HOUR), dismissByHand()];
        await eventually('both wait for the live row', async () => {
          const { rows } = await database.pool.query(
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
    await changePolicy(database.pool, { clockDriftLimitSeconds: 60 });
    await beat(100_000);
    await beat(100_000);
    expect(await shown()).to.deep.equal(['clock-drift raised 1']);
    await changePolicy(database.pool, { clockDriftLimitSeconds: 'unlimited' });
    await beat(100_000);
    expect(await shown()).to.deep.equal(['clock-drift resolved 1']);
  });

  it('makes no statement more for a steady report of a clock that drifts', async () => {
    await beat(HOUR);
    await beat(HOUR);
    await beat(HOUR);
    const before = world.metrics.statements;
    await beat(HOUR);
    const steady = world.metrics.statements - before;
    expect(await shown()).to.deep.equal(['clock-drift raised 1']);
    expect(steady).to.equal(4);
  });
});
