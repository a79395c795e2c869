import { expect } from 'chai';
import { Scope } from '../../../server/access/scope.js';
import { parsePage, type Page } from '../../../server/admin-api/page.js';
import { COMPUTER_ORDER, listComputerRows } from '../../../server/computers/computer-list-query.js';
import type { Sql } from '../../../server/database/sql.js';
import { ComputerEntity, ComputerRevisionEntity } from '../../../server/computers/index.js';
import { packReceipts } from '../../../server/heartbeats/receipt-ring.js';
import type { ComputerDetailDto, ComputerDto, GapDto, HeartbeatDto } from '../../../server/computers/computer-dto.js';
import { PolicyEntity, PolicyRevisionEntity } from '../../../server/policies/policy-entity.js';
import { startComputers, type ComputerWorld } from '../../support/computer-world.js';
import { useDatabase } from '../../support/database.js';
import { problemOf } from '../../support/domain-world.js';

const ENTITIES = [PolicyEntity, PolicyRevisionEntity, ComputerEntity, ComputerRevisionEntity];

describe('the list of computers', () => {
  const database = useDatabase({ entities: ENTITIES });
  let world: ComputerWorld;
  const policies: Record<string, string> = {};

  before(async () => {
    world = await startComputers(database);
    policies['top'] = (await world.makePolicy(world.base.id)).id;
    policies['low'] = (await world.makePolicy(policies['top'])).id;
    policies['side'] = (await world.makePolicy(null)).id;
    const cast: readonly [string, string, object][] = [
      ['delta', 'low', { site: 'a', role: 'web' }],
      ['alpha_1', 'top', { site: 'a' }],
      ['alphaX1', 'side', { site: 'b' }],
      ['bravo', 'top', { role: 'web' }],
      ['Charlie', 'side', {}],
    ];
    for (const [index, [name, policy, labels]] of cast.entries()) {
      world.clock.advance(1000);
      const { id } = await world.makeComputer({ name, policyId: policies[policy], labels });
      if (index % 2 === 0) await world.hear(id);
      const enrolled = index < 3 ? world.clock.fleet() - index * 5000 : null;
      await world.sql.query('UPDATE computers SET enrolled_fleet_ms = $2 WHERE id = $1', [id, enrolled]);
      const flags = name === 'bravo' ? ['isolated'] : name === 'delta' ? ['degraded'] : [];
      await world.sql.query('UPDATE computer_status SET flags = $2 WHERE computer_id = $1', [id, flags]);
    }
  });

  const namesOf = (page: Page<ComputerDto>) => page.items.map(({ name }) => name);

  const filters: readonly [string, () => object, readonly string[]][] = [
    ['everything by name', () => ({}), ['Charlie', 'alphaX1', 'alpha_1', 'bravo', 'delta']],
    ['one status', () => ({ status: ['online'] }), ['Charlie', 'alphaX1', 'delta']],
    ['several statuses', () => ({ status: ['pending', 'offline'] }), ['alpha_1', 'bravo']],
    ['a subtree', () => ({ policyId: policies['top'] }), ['alpha_1', 'bravo', 'delta']],
    ['a leaf', () => ({ policyId: policies['low'] }), ['delta']],
    ['a policy that is not there', () => ({ policyId: world.random.uuid() }), []],
    ['a label', () => ({ label: ['role'] }), ['bravo', 'delta']],
    ['a label and its value', () => ({ label: ['site:a'] }), ['alpha_1', 'delta']],
    ['the same with =', () => ({ label: ['site=a'] }), ['alpha_1', 'delta']],
    ['two labels', () => ({ label: ['site:a', 'role'] }), ['delta']],
    ['a flag', () => ({ flag: ['isolated'] }), ['bravo']],
    ['two flags', () => ({ flag: ['isolated', 'degraded'] }), []],
    ['a part of the name in any case', () => ({ q: 'CHAR' }), ['Charlie']],
    ['a wildcard taken literally', () => ({ q: 'a_1' }), ['alpha_1']],
    ['all at once', () => ({ status: ['online'], policyId: policies['top'], label: ['site:a'], q: 'e' }), ['delta']],
  ];
  for (const [name, query, expected] of filters)
    it(`filters by ${name}`, async () => expect(namesOf(await world.list(query()))).to.deep.equal(expected));

  const sorts: readonly [string, readonly string[]][] = [
    ['name', ['Charlie', 'alphaX1', 'alpha_1', 'bravo', 'delta']],
    ['-name', ['delta', 'bravo', 'alpha_1', 'alphaX1', 'Charlie']],
    ['statusSince', ['delta', 'alpha_1', 'alphaX1', 'bravo', 'Charlie']],
    ['-statusSince', ['Charlie', 'bravo', 'alphaX1', 'alpha_1', 'delta']],
  ];
  const walk = async (sort: string): Promise<ComputerDetailDto[]> => {
    const seen: ComputerDetailDto[] = [];
    let cursor: string | undefined;
    do {
      const page = await world.list({ sort, limit: 2, ...(cursor ? { cursor } : {}) });
      expect(page.items.length).to.be.at.most(2);
      seen.push(...(page.items as ComputerDetailDto[]));
      cursor = page.next ?? undefined;
    } while (cursor);
    return seen;
  };
  for (const [sort, expected] of sorts)
    it(`sorts by ${sort} over pages`, async () =>
      expect((await walk(sort)).map(({ name }) => name)).to.deep.equal(expected));

  it('sorts by enrollment, those who never enrolled last, and backwards', async () => {
    const seen = await walk('enrolledAt');
    expect(seen.map(({ name }) => name).slice(0, 3)).to.deep.equal(['alphaX1', 'alpha_1', 'delta']);
    expect(seen.slice(3).map(({ enrolledAt }) => enrolledAt)).to.deep.equal([null, null]);
    const back = await walk('-enrolledAt');
    expect(back.map(({ id }) => id)).to.deep.equal(seen.map(({ id }) => id).toReversed());
  });

  it('sorts by the name of the policy, and backwards', async () => {
    const seen = await walk('policy');
    const names = seen.map(({ policy }) => policy.name);
    expect(names).to.deep.equal(names.toSorted());
    expect(new Set(seen.map(({ id }) => id)).size).to.equal(5);
    expect((await walk('-policy')).map(({ id }) => id)).to.deep.equal(seen.map(({ id }) => id).toReversed());
  });

  it('refuses a sort key that is not declared and a cursor of another sort', async () => {
    expect((await problemOf(world.list({ sort: 'address' }))).code).to.equal('request-invalid');
    const { next } = await world.list({ sort: 'name', limit: 1 });
    expect((await problemOf(world.list({ sort: '-name', cursor: next }))).code).to.equal('request-invalid');
  });

  const plans: readonly [string, string][] = [
    ['name', 'computers_name'],
    ['-enrolledAt', 'computers_enrolled'],
    ['statusSince', 'computer_status_since'],
  ];
  for (const [sort, index] of plans)
    it(`can walk an index when sorted by ${sort}`, async () => {
      const plan = await database.dataSource.transaction(async (manager) => {
        for (const choice of ['enable_seqscan', 'enable_sort', 'enable_hashjoin'])
          await manager.query(`SET LOCAL ${choice} = off`);
        const explain: Sql = { query: (text, parameters) => manager.query(`EXPLAIN ${text}`, [...(parameters ?? [])]) };
        const page = parsePage({ limit: 50, sort }, COMPUTER_ORDER);
        const none = { statuses: [], policyId: undefined, labels: [], q: undefined };
        return listComputerRows(explain, Scope.all, { page, filters: none });
      });
      expect(JSON.stringify(plan)).to.contain(index).and.not.contain('Sort');
    });

  it('lists the receipts of the ring, newest first and in pages', async () => {
    const [first] = (await world.list({})).items;
    const receipts = [1000, 2000, 3000].map((receivedAt) => ({
      receivedAt,
      latenessMs: 5,
      clockOffsetMs: null,
      latencyMs: 7,
    }));
    await world.sql.query('INSERT INTO heartbeat_rings (computer_id, ring, updated_fleet_ms) VALUES ($1, $2, 0)', [
      first!.id,
      packReceipts(receipts),
    ]);
    const beatsOf = async (query: object) =>
      (await world.call<Page<HeartbeatDto>>('get', '/computers/:id/heartbeats', { params: { id: first!.id }, query }))
        .body;
    const shown = (at: number) => new Date(world.clock.toWall(at)).toISOString();
    const page = await beatsOf({ limit: 2 });
    expect(page.items).to.deep.equal([
      { receivedAt: shown(3000), latenessMs: 5, clockOffsetMs: null, latencyMs: 7 },
      { receivedAt: shown(2000), latenessMs: 5, clockOffsetMs: null, latencyMs: 7 },
    ]);
    const rest = await beatsOf({ limit: 2, cursor: page.next });
    expect(rest.items.map(({ receivedAt }) => receivedAt)).to.deep.equal([shown(1000)]);
    expect(rest.next).to.equal(null);
    const oldest = await beatsOf({ limit: 1, sort: 'receivedAt' });
    expect(oldest.items[0]!.receivedAt).to.equal(shown(1000));
  });

  it('lists gaps newest first', async () => {
    const [first] = (await world.list({})).items;
    for (const from of [1000, 2000, 3000])
      await world.sql.query(
        `INSERT INTO heartbeat_gaps (id, partition_at, computer_id, from_fleet_ms, until_fleet_ms, interval_ms, deaf_ms)
         VALUES ($1, '2026-11-21', $2, $3, $4, 60000, 7)`,
        [world.random.uuid(), first!.id, from, from + 500],
      );
    const gapsOf = async (query: object) =>
      (await world.call<Page<GapDto>>('get', '/computers/:id/gaps', { params: { id: first!.id }, query })).body;
    const page = await gapsOf({ limit: 2 });
    expect(page.items.map(({ from, durationMs, deafMs }) => [Date.parse(from), durationMs, deafMs])).to.deep.equal([
      [world.clock.toWall(3000), 500, 7],
      [world.clock.toWall(2000), 500, 7],
    ]);
    expect((await gapsOf({ limit: 2, cursor: page.next })).items).to.have.length(1);
  });
});
