import { expect } from 'chai';
import { createLog } from '../../../lib/log.js';
import { createSystemRandom } from '../../../lib/random.js';
import { Scope } from '../../../server/access/scope.js';
import { sqlOfClient } from '../../../server/database/sql.js';
import { EventsQuery } from '../../../server/events/event-dto.js';
import { createEventList } from '../../../server/events/event-list-query.js';
import { createEventWriter } from '../../../server/events/event-writer.js';
import { createManagerJournal } from '../../../server/events/manager-journal.js';
import { createListeningLedger } from '../../../server/listening/listening-ledger.js';
import { isWorthTelling, listeningGap, managerStarted, shardsLost } from '../../../server/manager-notes.js';
import { createVerdictJob } from '../../../server/verdicts/verdict-job.js';
import { useDatabase } from '../../support/database.js';
import { START, VerdictWorld } from '../../support/verdict-world.js';

describe("the manager's own events", () => {
  const database = useDatabase();
  const log = createLog({ name: 'test', level: 'silent' });
  let world: VerdictWorld;
  beforeEach(async () => {
    world = new VerdictWorld(database);
    await world.open();
    await database.pool.query('DELETE FROM events');
  });

  function journalOf(inTransaction = world.inTransaction) {
    const events = createEventWriter({ random: createSystemRandom(), fleetClock: world.clock });
    return createManagerJournal({ node: 'n1', events, inTransaction, clock: world.clock, log });
  }
  async function listed() {
    const query = Object.assign(new EventsQuery(), { lane: 'manager', sort: 'receivedAt' });
    const list = createEventList({ sql: sqlOfClient(database.pool), clock: world.clock });
    return (await list.list(Scope.all, query)).items;
  }

  it('are listed in lane manager, without a computer, in their order and with their node', async () => {
    const journal = journalOf();
    journal.note(managerStarted('1.2.3'));
    journal.note(shardsLost([3, 4]));
    expect(await listed()).to.deep.equal([]);
    await journal.flush();
    const items = await listed();
    expect(items.map(({ kind, computerId, data }) => ({ kind, computerId, data }))).to.deep.equal([
      { kind: 'manager-started', computerId: null, data: { node: 'n1', version: '1.2.3' } },
      { kind: 'verdict-shards-lost', computerId: null, data: { node: 'n1', shards: [3, 4] } },
    ]);
    expect(items[0]?.receivedAt).to.equal(new Date(START).toISOString());
  });

  it('wait in memory while the database is away, the oldest let go beyond a thousand', async () => {
    let isAway = true;
    const journal = journalOf((work, options) =>
      isAway ? Promise.reject(new Error('away')) : world.inTransaction(work, options),
    );
    for (let n = 0; n < 1002; n += 1) journal.note(shardsLost([n]));
    await journal.flush().catch(() => undefined);
    isAway = false;
    await journal.stop();
    const { rows } = await database.pool.query(
      `SELECT count(*) AS count, min((data->'shards'->>0)::int) AS first FROM events WHERE lane = 'manager'`,
    );
    expect(rows).to.deep.equal([{ count: 1000, first: 2 }]);
  });

  it('tell of a deaf span with its cause in the transaction that stores the span', async () => {
    const journal = journalOf();
    const ledger = createListeningLedger({
      node: 'n1',
      inTransaction: world.inTransaction,
      fleetClock: world.clock,
      ingest: { settled: async () => {} },
      log,
      onDeafSpan: async (sql, span) => {
        if (isWorthTelling(span)) await journal.record(sql, listeningGap(span));
      },
    });
    await ledger.register();
    await ledger.opened();
    await world.clock.advance(1000);
    await ledger.renew();
    expect(await listed()).to.deep.equal([]);
    ledger.noteDeaf('refused-heartbeats');
    await world.clock.advance(1000);
    await ledger.renew();
    await world.clock.advance(1000);
    await ledger.renew();
    const items = await listed();
    expect(items.map(({ kind, severity, data }) => ({ kind, severity, data }))).to.deep.equal([
      { kind: 'listening-gap', severity: 'medium', data: { node: 'n1', cause: 'refused-heartbeats', seconds: 2 } },
    ]);
    const { rows } = await database.pool.query('SELECT from_fleet_ms, until_fleet_ms FROM deaf_spans');
    expect(rows).to.deep.equal([{ from_fleet_ms: START + 1000, until_fleet_ms: START + 3000 }]);
  });

  it('tell of verdict shards that another process took over', async () => {
    const ledger = await world.listen();
    const lost: (readonly number[])[] = [];
    const { clock: fleetClock, settings, statuses, inTransaction } = world;
    const shared = { inTransaction, fleetClock, ledger, settings, statuses, log };
    const first = createVerdictJob({ ...shared, owner: 'n1', onShardsLost: (shards) => void lost.push(shards) });
    await world.run(first);
    await fleetClock.jump(11_000);
    await ledger.renew();
    await world.run(createVerdictJob({ ...shared, owner: 'n2' }));
    await world.run(first);
    expect(lost.flat()).to.have.length(64);
  });
});
