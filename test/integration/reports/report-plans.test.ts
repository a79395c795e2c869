import { expect } from 'chai';
import pg from 'pg';
import { toRfc3339 } from '../../../lib/clock.js';
import type { Sql } from '../../../server/database/sql.js';
import { ensurePartitions } from '../../../server/database/partitions.js';
import { ComputerEntity, ComputerRevisionEntity } from '../../../server/computers/index.js';
import { PolicyEntity, PolicyRevisionEntity } from '../../../server/policies/index.js';
import type { AvailabilityReply } from '../../../server/reports/availability-dto.js';
import { CHUNK, LIST_CHANGES, listReportedAfter, readChanges } from '../../../server/reports/availability-query.js';
import { LIST_GAPS } from '../../../server/reports/rehearsal-query.js';
import { Scope } from '../../../server/access/scope.js';
import { startComputers, type ComputerWorld } from '../../support/computer-world.js';
import { useDatabase } from '../../support/database.js';
import { DAY, HOUR, MINUTE } from './report-history.js';

const COMPUTERS = 20_000;
const DAYS = 6;
const NIL = '00000000-0000-0000-0000-000000000000';

/** 20,000 computers; half of them were offline for an hour of each day. */
async function fill({ sql, base, clock }: ComputerWorld, now: number): Promise<void> {
  for (const table of ['status_history', 'heartbeat_gaps'] as const)
    await ensurePartitions(sql, { table, fromMs: clock.toWall(now - DAYS * DAY), days: DAYS + 1 });
  await sql.query(
    `INSERT INTO computers (id, name, kind, policy_id, labels, revision, verdict_rules_fleet_ms, created_fleet_ms)
     SELECT gen_random_uuid(), 'host ' || n, 'agent', $1, '{}', 1, 0, $2 FROM generate_series(1, $3::integer) AS n`,
    [base.id, now - 100 * DAY, COMPUTERS],
  );
  await sql.query(
    `INSERT INTO computer_status (computer_id, status, reason, since_fleet_ms)
     SELECT id, 'online', 'in-contact', CASE WHEN substring(name, 6)::integer % 2 = 0 THEN $1::bigint ELSE $2 END FROM computers`,
    [now - 11 * HOUR, now - 90 * DAY],
  );
  for (let day = 1; day <= DAYS; day += 1) {
    const begin = now - day * DAY + 12 * HOUR;
    for (const [status, previous, since] of [
      ['offline', 'online', begin],
      ['online', 'offline', begin + HOUR],
    ] as const)
      await sql.query(
        `INSERT INTO status_history (id, partition_at, computer_id, status, previous_status, reason, since_fleet_ms, noticed_fleet_ms)
         SELECT gen_random_uuid(), $1::timestamptz, id, $2, $3, 'unknown', $4, $4 FROM computers
         WHERE substring(name, 6)::integer % 2 = 0`,
        [toRfc3339(clock.toWall(since)), status, previous, since],
      );
    await sql.query(
      `INSERT INTO heartbeat_gaps (id, partition_at, computer_id, from_fleet_ms, until_fleet_ms, interval_ms, deaf_ms)
       SELECT gen_random_uuid(), $1::timestamptz, id, $2, $3, 60000, 0 FROM computers WHERE substring(name, 6)::integer % 2 = 0`,
      [toRfc3339(clock.toWall(begin + HOUR)), begin - 4 * MINUTE, begin + HOUR],
    );
  }
}

describe('reports over 20,000 computers', function () {
  this.timeout(180_000);
  const database = useDatabase({
    entities: [PolicyEntity, PolicyRevisionEntity, ComputerEntity, ComputerRevisionEntity],
  });
  let world: ComputerWorld;
  let now: number;
  const explain = async (text: string, parameters: readonly unknown[]): Promise<string> => {
    const rows = await world.sql.query<{ 'QUERY PLAN': string }>(`EXPLAIN ${text}`, parameters);
    return rows.map((row) => row['QUERY PLAN']).join('\n');
  };
  const partitionsIn = (plan: string, table: string): string[] =>
    [...new Set([...plan.matchAll(new RegExp(`${table}_(p\\d{8}|default)`, 'g'))].map(([, name]) => name!))].toSorted();
  const dayOf = (instant: number): string =>
    `p${toRfc3339(world.clock.toWall(instant)).slice(0, 10).replaceAll('-', '')}`;

  before(async () => {
    world = await startComputers(database);
    now = world.clock.fleet();
    await fill(world, now);
    const owner = new pg.Client({ ...database.ownerConnection });
    await owner.connect();
    await owner.query('ANALYZE computers, computer_status, status_history, heartbeat_gaps');
    await owner.end();
  });

  it('reads the history of a chunk by its index, of the days that are asked for only', async () => {
    const asked = {
      scope: Scope.all,
      filters: { policyId: undefined, labels: [] },
      computerId: undefined,
      labelKey: undefined,
    };
    const computers = await listReportedAfter(world.sql, asked, null);
    expect(computers.length).to.equal(CHUNK);
    const [from, until] = [now - 4 * DAY, now - 3 * DAY];
    const walls = [from, until].map((instant) => toRfc3339(world.clock.toWall(instant)));
    const plan = await explain(LIST_CHANGES, [computers.map(({ id }) => id), from, from, until, ...walls]);
    expect(plan).to.match(/status_history_p\d+_computer_id_since_fleet_ms_id_idx/);
    expect(plan).to.not.match(/Seq Scan on status_history/);
    expect(partitionsIn(plan, 'status_history')).to.deep.equal([dayOf(from), dayOf(until)]);
  });

  it('reads nothing of computers that have not changed since', async () => {
    const texts: string[] = [];
    const sql: Sql = {
      query: (text, parameters) => {
        texts.push(text);
        return world.sql.query(text, parameters);
      },
    };
    const history = { sql, now, wallsOf: (span: { from: number; until: number }) => span };
    const steady = [{ id: NIL, status: 'online' as const, since_fleet_ms: now - 90 * DAY }];
    expect((await readChanges(history, steady, { from: now - DAY, until: now })).size).to.equal(0);
    expect(texts).to.deep.equal([]);
  });

  it('sums up a policy of all of them in chunks', async () => {
    const { body } = await world.call<AvailabilityReply>('get', '/reports/availability', {
      query: {
        from: toRfc3339(world.clock.toWall(now - 5 * DAY)),
        to: toRfc3339(world.clock.toWall(now)),
        groupBy: 'policy',
      },
    });
    expect(body.totals).to.include({
      computers: COMPUTERS,
      rangeSeconds: (COMPUTERS * 5 * DAY) / 1000,
      offlineSeconds: (COMPUTERS / 2) * 5 * 3600,
      outages: (COMPUTERS / 2) * 5,
      mttrSeconds: 3600,
      availabilityPercent: Math.floor((1 - 1 / 48) * 1e6) / 1e4,
    });
  });

  it('reads the gaps of a day by the index of its partition, from a place on', async () => {
    const day = Math.floor(world.clock.toWall(now - 3 * DAY) / DAY) * DAY;
    const parameters = [toRfc3339(day), toRfc3339(day + DAY), [world.base.id], 0, 60_000, NIL, 0, NIL];
    const plan = await explain(LIST_GAPS, parameters);
    expect(plan).to.match(/heartbeat_gaps_p\d+_computer_id_from_fleet_ms_id_idx/);
    expect(plan).to.not.match(/Seq Scan on heartbeat_gaps/);
    expect(partitionsIn(plan, 'heartbeat_gaps')).to.deep.equal([dayOf(now - 3 * DAY)]);
  });

  it('rehearses over the gaps of all of them, page by page', async () => {
    const body = { days: 5, settings: { heartbeatsMissedAllowed: 100 } };
    const call = { params: { id: world.base.id }, body };
    const reply = await world.call<{ present: object; rehearsed: object; sample: unknown[] }>(
      'post',
      '/policies/:id/rehearse',
      call,
    );
    expect(reply.body.present).to.deep.equal({ alerts: (COMPUTERS / 2) * 5, flash: 0, computers: COMPUTERS / 2 });
    expect(reply.body.rehearsed).to.deep.equal({ alerts: 0, flash: 0, computers: 0 });
    expect(reply.body.sample).to.deep.equal([]);
  });
});
