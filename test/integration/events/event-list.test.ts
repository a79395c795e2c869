import { expect } from 'chai';
import { Scope } from '../../../server/access/scope.js';
import type { Page } from '../../../server/admin-api/page.js';
import { ComputerEntity, ComputerRevisionEntity } from '../../../server/computers/index.js';
import type { EventDto } from '../../../server/events/event-dto.js';
import { PolicyEntity, PolicyRevisionEntity } from '../../../server/policies/policy-entity.js';
import { startComputers, type ComputerWorld } from '../../support/computer-world.js';
import { useDatabase } from '../../support/database.js';

describe('the list of events', () => {
  const database = useDatabase({
    entities: [PolicyEntity, PolicyRevisionEntity, ComputerEntity, ComputerRevisionEntity],
  });
  let world: ComputerWorld;
  let web1: string;

  before(async () => {
    world = await startComputers(database);
    web1 = (await world.makeComputer({ name: 'web1' })).id;
    const rows: readonly [string | null, number, string, string, string][] = [
      [web1, 1000, 'control', 'agent-started', 'info'],
      [web1, 2000, 'detection', 'malware', 'high'],
      [null, 3000, 'control', 'manager-started', 'info'],
      [world.random.uuid(), 4000, 'log', 'log', 'info'],
    ];
    for (const [index, [computerId, received, lane, kind, severity]] of rows.entries())
      await world.sql.query(
        `INSERT INTO events (id, partition_at, computer_id, lane, epoch, sequence, occurred_ms, received_fleet_ms, kind,
           code, severity, message, data)
         VALUES ($1, '2026-11-21', $2, $3, 'e1', $4, 123, $5, $6, $7, $8, $9, '{"a": 1}')`,
        [world.random.uuid(), computerId, lane, index, received, kind, 5000 + index, severity, `100% of ${kind}`],
      );
  });

  const kindsOf = async (query: object, scope = Scope.all) =>
    (await world.call<Page<EventDto>>('get', '/events', { query, scope })).body.items.map(({ kind }) => kind);

  const cases: readonly [string, object, readonly string[]][] = [
    ['everything, newest first', {}, ['log', 'manager-started', 'malware', 'agent-started']],
    ['oldest first', { sort: 'receivedAt' }, ['agent-started', 'malware', 'manager-started', 'log']],
    ['a lane', { lane: 'control' }, ['manager-started', 'agent-started']],
    ['a severity', { severity: 'high' }, ['malware']],
    ['a kind and a code', { kind: 'log', code: 5003 }, ['log']],
    ['a part of the message, % taken literally', { q: '0% of MAL' }, ['malware']],
  ];
  for (const [name, query, expected] of cases)
    it(`answers ${name}`, async () => expect(await kindsOf(query)).to.deep.equal(expected));

  it('answers those of one computer with every field', async () => {
    const { body } = await world.call<Page<EventDto>>('get', '/computers/:id/events', { params: { id: web1 } });
    expect(body.items.map(({ kind }) => kind)).to.deep.equal(['malware', 'agent-started']);
    const { id: _id, ...event } = body.items[0]!;
    expect(event).to.deep.equal({
      computerId: web1,
      lane: 'detection',
      epoch: 'e1',
      sequence: 1,
      occurredAt: '1970-01-01T00:00:00.123Z',
      receivedAt: new Date(world.clock.toWall(2000)).toISOString(),
      kind: 'malware',
      code: 5001,
      severity: 'high',
      message: '100% of malware',
      data: { a: 1 },
    });
  });

  it('answers only those of computers within the scope', async () => {
    const other = await world.makePolicy(null);
    expect(await kindsOf({}, Scope.subtrees([other.id]))).to.deep.equal([]);
    expect(await kindsOf({}, Scope.subtrees([world.base.id]))).to.deep.equal(['malware', 'agent-started']);
    expect(await kindsOf({ q: 'of', lane: 'control' }, Scope.subtrees([world.base.id]))).to.deep.equal([
      'agent-started',
    ]);
  });

  it('pages without losing or repeating one', async () => {
    const seen: string[] = [];
    let cursor: string | null | undefined;
    do {
      const query = { limit: 3, ...(cursor ? { cursor } : {}) };
      const { items, next } = (await world.call<Page<EventDto>>('get', '/events', { query })).body;
      seen.push(...items.map(({ kind }) => kind));
      cursor = next;
    } while (cursor);
    expect(seen).to.deep.equal(['log', 'manager-started', 'malware', 'agent-started']);
  });
});
