import { expect } from 'chai';
import { createSystemRandom } from '../../../lib/random.js';
import { deleteExpiredSessions, deleteLanePositions, keepPartitions } from '../../../server/scheduler/maintenance.js';
import { createLog } from '../../../lib/log.js';
import { clockJobs, cronJobs, VERDICTS } from '../../../server/scheduler/jobs.js';
import { createNodeCronPort } from '../../../server/scheduler/node-cron-port.js';
import { createScheduler } from '../../../server/scheduler/scheduler.js';
import { createSystemClock } from '../../../lib/clock.js';
import { openFleetClock } from '../../../server/fleet-clock/open-fleet-clock.js';
import { useDatabase } from '../../support/database.js';
import { eventually } from '../../support/poll.js';
import { START, VerdictWorld } from '../../support/verdict-world.js';

const DAY = 86_400_000;

describe('housekeeping', () => {
  const database = useDatabase();
  const random = createSystemRandom();
  let world: VerdictWorld;
  beforeEach(async () => {
    world = new VerdictWorld(database);
    await world.open();
  });
  const deps = () => ({ inTransaction: world.inTransaction, fleetClock: world.clock });
  const partitions = async (table: string) => {
    const { rows } = await database.pool.query(
      `SELECT inhrelid::regclass::text AS name FROM pg_inherits WHERE inhparent = $1::regclass ORDER BY 1`,
      [table],
    );
    return rows.map(({ name }) => name as string);
  };

  it('makes partitions a week ahead and drops those past their retention', async () => {
    await keepPartitions(deps());
    expect(await partitions('events')).to.include.members(['events_p20261121', 'events_p20261128', 'events_default']);
    expect(await partitions('events')).to.not.include('events_p20261129');
    await world.clock.advance(32 * DAY);
    await keepPartitions(deps());
    expect(await partitions('events')).to.include('events_p20261223');
    expect(await partitions('events')).to.not.include('events_p20261121');
    expect(await partitions('status_history')).to.include('status_history_p20261121');
  });

  it('forgets positions of spools unnamed for 90 days', async () => {
    const at = (days: number) => START - days * DAY;
    for (const named of [at(89), at(91)])
      await database.pool.query(
        `INSERT INTO lane_positions (computer_id, lane, epoch, position, named_fleet_ms) VALUES ($1, 'log', 'e', 1, $2)`,
        [random.uuid(), named],
      );
    await deleteLanePositions(deps());
    const { rows } = await database.pool.query('SELECT named_fleet_ms FROM lane_positions');
    expect(rows.map(({ named_fleet_ms }) => named_fleet_ms)).to.deep.equal([at(89)]);
  });

  it('deletes sessions that have expired', async () => {
    const user = random.uuid();
    await database.pool.query(
      `INSERT INTO users (id, name, password_hash, role, created_at, password_changed_at)
       VALUES ($1, 'ada', '', 'auditor', '2026-01-01Z', '2026-01-01Z')`,
      [user],
    );
    for (const expires of ['2026-11-21T12:00:00Z', '2026-11-21T12:00:01Z'])
      await database.pool.query(
        `INSERT INTO sessions (id, secret_hash, csrf_hash, user_id, created_at, proven_at, used_at, expires_at)
         VALUES ($1, $2, $2, $3, '2026-01-01Z', '2026-01-01Z', '2026-01-01Z', $4)`,
        [random.uuid(), random.bytes(32), user, expires],
      );
    await deleteExpiredSessions(deps());
    expect((await database.pool.query('SELECT 1 FROM sessions')).rowCount).to.equal(1);
  });

  it('raises an alert by cron alone, with the wake-up off, through node-cron itself', async () => {
    const web1 = await world.computer({ at: 0 });
    const ledger = await world.listen();
    for (let second = 0; second < 186; second += 1) {
      await world.clock.advance(1000);
      await ledger.renew();
    }
    const clock = createSystemClock();
    const log = createLog({ name: 'test', level: 'silent' });
    const fleetClock = await openFleetClock({ clock, random, log, bootId: 'b', inTransaction: world.inTransaction });
    const verdicts = world.job(ledger);
    const jobs = cronJobs({
      inTransaction: world.inTransaction,
      fleetClock,
      verdicts,
      sealer: { run: async () => {} },
      incidents: { run: async () => {} },
      notices: { run: async () => {} },
      commands: { job: { run: async () => {}, tidy: async () => {} } },
      expiries: { run: async () => {}, tidy: async () => {} },
    });
    const monotonicJobs = clockJobs({ inTransaction: world.inTransaction, fleetClock });
    const scheduler = createScheduler({
      clock,
      log,
      cron: createNodeCronPort({ log, wall: () => Date.now() }),
      jobs,
      monotonicJobs,
    });
    scheduler.start();
    try {
      await eventually('the alert is raised', async () => (await world.alerts(web1)).length === 1);
    } finally {
      await scheduler.stop();
    }
    const statistics = scheduler.statistics().find(({ name }) => name === VERDICTS);
    expect(statistics?.runs.cron).to.be.at.least(1);
    expect(statistics?.runs.wakeup).to.equal(0);
    expect((await world.alerts(web1))[0]?.raisedAt).to.equal(185_000);
  });
});
