import { randomUUID } from 'node:crypto';
import { expect } from 'chai';
import fc from 'fast-check';
import { composeEntities } from '../../../server/compose-entities.js';
import type { RouteDefinition } from '../../../server/admin-api/route.js';
import { useDatabase } from '../../support/database.js';
import { ScopeModel, type Kind, type Thing } from '../../support/scope-model.js';
import { at, ScopeSeed, type Plan } from '../../support/scope-seed.js';
import { startScopeWorld, type Headers, type Said, type ScopeWorld } from '../../support/scope-world.js';
import { BODIES, kindOf, LISTS, namingRequests, type Named, type Request, type Seen } from './scope-requests.js';

const nameOf = ({ method, path }: RouteDefinition): string => `${method} ${path}`;
const hasId = ({ path }: RouteDefinition): boolean => path.includes(':id');
const pathOf = ({ path }: RouteDefinition, id: string): string =>
  path.replace(':id', id).replace(':key', 'heartbeatIntervalSeconds');

const place = fc.nat(50);
const plans: fc.Arbitrary<Plan & { readonly reader: number }> = fc.record({
  policies: fc.array(place, { minLength: 3, maxLength: 5 }),
  computers: fc.array(place, { minLength: 3, maxLength: 5 }),
  moves: fc.array(fc.tuple(place, place), { maxLength: 2 }),
  policyMove: fc.option(fc.tuple(place, place)),
  reader: place,
});

/** Whose rows are whose: the table and the column of the id that the model knows. */
const TABLES: readonly (readonly [table: string, id: string])[] = [
  ['policies', 'id'],
  ['policy_revisions', 'policy_id'],
  ['computers', 'id'],
  ['computer_revisions', 'computer_id'],
  ['computer_status', 'computer_id'],
  ['alerts', 'id'],
  ['events', 'id'],
  ['commands', 'id'],
  ['operations', 'id'],
  ['operation_targets', 'operation_id'],
  ['enrollment_tokens', 'id'],
  ['maintenance_windows', 'id'],
  ['notification_routes', 'id'],
  ['notification_channels', 'id'],
  ['notification_deliveries', 'id'],
  ['notification_delivery_alerts', 'delivery_id'],
  ['users', 'id'],
  ['sessions', 'id'],
  ['second_factors', 'user_id'],
  ['recovery_codes', 'user_id'],
  ['api_keys', 'id'],
];

/** Tables whose rows belong to a policy by a column. */
const BOUND: readonly (readonly [table: string, column: string])[] = [
  ['policies', 'id'],
  ['computers', 'policy_id'],
  ['enrollment_tokens', 'policy_id'],
  ['notification_routes', 'policy_id'],
  ['operations', 'policy_id'],
  ['users', 'policy_id'],
  ['api_keys', 'policy_id'],
];

/** A reader whose role is bound to one policy of a forest. */
class Reader {
  readonly as: Headers;
  #hidden: readonly Thing[] = [];
  #known = 0;

  constructor(
    readonly world: ScopeWorld,
    readonly seed: ScopeSeed,
    readonly root: string,
  ) {
    this.as = seed.keys.get(root) ?? {};
  }

  get hidden(): readonly Thing[] {
    const { model } = this.seed;
    if (this.#known !== model.things.length) this.#hidden = model.hidden(this.root);
    this.#known = model.things.length;
    return this.#hidden;
  }

  visible(kind: Kind): string[] {
    return this.seed.model.visible(this.root, kind);
  }

  hiddenOf(kind: Kind): Thing[] {
    return this.hidden.filter((thing) => thing.kind === kind);
  }

  async ask({ method, path, body }: Request): Promise<Said> {
    const said = await this.world.send(method, path, { as: this.as, body });
    expect(said.status, `${method} ${path}: ${said.text}`).to.be.lessThan(500);
    this.assertTellsNothingHidden(said, `${method} ${path} ${JSON.stringify(body)}`);
    return said;
  }

  /** Beside what the request itself named. */
  assertTellsNothingHidden({ text }: Said, asked: string): void {
    const told = this.hidden.flatMap(({ kind, id, name }) =>
      // A command tells which operation it is part of, and everything who made it.
      (kind === 'operation' ? [] : [id, name]).filter(
        (word) => word !== null && text.includes(word) && !asked.includes(word),
      ),
    );
    expect(told, `${asked} told ${text.slice(0, 500)}`).to.deep.equal([]);
    expect(text, asked).not.to.contain('somebody else');
  }
}

/** A problem without what differs from call to call. */
function withoutInstance({ status, body }: Said, ...named: readonly string[]): string {
  const { instance: _instance, ...rest } = body;
  return named.reduce((text, word) => text.replaceAll(word, '…'), JSON.stringify([status, rest]));
}

describe('what a role that is bound to a policy sees and changes (T23)', function () {
  this.timeout(240_000);
  const database = useDatabase({ entities: composeEntities() });
  const model = new ScopeModel();
  let world: ScopeWorld;
  let routes: readonly RouteDefinition[];
  /** Answers that were the same before and after others did something. */
  let compared = 0;

  before(async () => {
    world = await startScopeWorld(database);
    routes = world.routes.filter(({ path }) => !path.startsWith('/test-'));
    // Somebody else is there always.
    await grow({ policies: [0], computers: [0, 0], moves: [], policyMove: null });
  });
  after(() => world.admin.close());

  const scoped = () => routes.filter(({ reach }) => reach === 'scope');

  async function grow(plan: Plan): Promise<ScopeSeed> {
    const seed = new ScopeSeed(world, model);
    await seed.grow(plan);
    return seed;
  }

  it('every route that serves bound roles has a row here', () => {
    expect(scoped().length).to.be.greaterThan(60);
    const [policy, computer, alert] = ['a', 'b', 'c'];
    const seen: Seen = { policy, computer, alert, user: 'd' };
    const naming = namingRequests(seen, { policy, computer, alert, route: 'e', userName: 'f' });
    const unknown = scoped().filter((route) => {
      if (hasId(route)) return kindOf(route) === undefined;
      return route.method === 'get' ? !(route.path in LISTS) : !(nameOf(route) in naming);
    });
    expect(unknown.map(nameOf)).to.deep.equal([]);
  });

  async function listsAreExact(reader: Reader): Promise<void> {
    for (const [path, { kind, query = '', idsOf, countOf }] of Object.entries(LISTS)) {
      const isPaged = !countOf && !path.endsWith('tree');
      const { body } = await reader.ask({ method: 'GET', path: `${path}?${query}${isPaged ? '&limit=200' : ''}` });
      if (countOf) {
        expect(countOf(body), `${path} as ${reader.root}`).to.equal(reader.visible(kind).length);
        continue;
      }
      const ids = idsOf ? idsOf(body) : (body['items'] as { id: string }[]).map(({ id }) => id);
      expect(ids.toSorted(), `${path} as ${reader.root}`).to.deep.equal(reader.visible(kind));
    }
  }

  /** As if it were not there: the very answer that an id of nothing gets. */
  async function hiddenIsAbsent(reader: Reader): Promise<void> {
    for (const route of scoped().filter(hasId)) {
      const method = route.method.toUpperCase();
      const body = route.method === 'get' || route.method === 'delete' ? {} : { body: BODIES[nameOf(route)] ?? {} };
      const nothing = randomUUID();
      const absent = await reader.ask({ method, path: pathOf(route, nothing), ...body });
      expect(absent.status, `${nameOf(route)}: ${absent.text}`).to.equal(404);
      expect(absent.body['type'])
        .to.match(/-not-found$/)
        .and.not.equal('/problems/route-not-found');
      for (const { id } of reader.hiddenOf(kindOf(route)).slice(-3)) {
        const said = await reader.ask({ method, path: pathOf(route, id), ...body });
        expect(withoutInstance(said, id), nameOf(route)).to.equal(withoutInstance(absent, nothing));
      }
    }
  }

  async function namingTellsNothing(reader: Reader): Promise<void> {
    const own = (kind: Kind): string => reader.visible(kind)[0] ?? randomUUID();
    const below = reader.visible('policy').find((id) => id !== reader.root);
    const seen: Seen = {
      policy: below ?? reader.root,
      computer: own('computer'),
      alert: own('alert'),
      user: own('user'),
    };
    const last = (kind: Kind): Thing => reader.hiddenOf(kind).at(-1) as Thing;
    const hidden: Named = {
      policy: last('policy').id,
      computer: last('computer').id,
      alert: last('alert').id,
      route: last('route').id,
      userName: last('user').name ?? '',
    };
    const [policy, computer, alert, route] = [randomUUID(), randomUUID(), randomUUID(), randomUUID()];
    const nothing: Named = { policy, computer, alert, route, userName: 'nobody at all' };
    const absent = Object.values(namingRequests(seen, nothing)).flat();
    for (const [place, request] of Object.values(namingRequests(seen, hidden)).flat().entries()) {
      const same = absent[place] as Request;
      const name = `${request.method} ${request.path} ${JSON.stringify(request.body)}`;
      expect(withoutInstance(await reader.ask(request), ...Object.values(hidden)), name).to.equal(
        withoutInstance(await reader.ask(same), ...Object.values(nothing)),
      );
    }
  }

  async function readAll(reader: Reader): Promise<Map<string, string>> {
    const answers = new Map<string, string>();
    for (const route of scoped().filter(({ method }) => method === 'get')) {
      const paths = hasId(route)
        ? reader
            .visible(kindOf(route))
            .slice(0, 3)
            .map((id) => pathOf(route, id))
        : [`${route.path}?${LISTS[route.path]?.query ?? ''}`.replace(/\?$/, '')];
      for (const path of paths) answers.set(path, withoutInstance(await reader.ask({ method: 'GET', path })));
    }
    return answers;
  }

  /** Whatever happens elsewhere, every answer stays the same. */
  async function othersLeaveNoTrace(reader: Reader, plan: Plan): Promise<void> {
    const before = await readAll(reader);
    const other = await grow({ ...plan, moves: [], policyMove: null });
    const { incident } = reader.seed.shared;
    await world.query('UPDATE alerts SET incident_id = $1 WHERE computer_id = ANY($2::uuid[])', [
      incident,
      other.computers,
    ]);
    await world.query(`UPDATE alerts SET comment = 'of somebody else', assignee = 'somebody else' WHERE id = $1`, [
      incident,
    ]);
    const foreign = reader.seed.computers.filter((id) => !model.seesComputer(reader.root, id));
    for (const id of foreign.slice(0, 2)) await world.change(`/computers/${id}`, { name: 'somebody else' });
    const after = await readAll(reader);
    for (const [path, answer] of after) expect(answer, path).to.equal(before.get(path));
    expect(after.size).to.equal(before.size);
    compared += after.size;
  }

  async function rowsOf(): Promise<Map<string, Map<string, string>>> {
    const all = new Map<string, Map<string, string>>();
    for (const [table, id] of TABLES) {
      const rows = await world.query<{ id: string; digest: string }>(
        `SELECT known.${id}::text AS id, md5(string_agg(known::text, ' ' ORDER BY known::text)) AS digest
         FROM ${table} AS known GROUP BY known.${id}`,
      );
      all.set(table, new Map(rows.map((row) => [row.id, row.digest])));
    }
    return all;
  }

  async function outsideOf(root: string): Promise<number> {
    let count = 0;
    for (const [table, column] of BOUND) {
      const [row] = await world.query<{ count: number }>(
        `WITH RECURSIVE below AS (SELECT id FROM policies WHERE id = $1
           UNION SELECT child.id FROM policies child JOIN below ON child.parent_id = below.id)
         SELECT count(*)::integer AS count FROM ${table} AS known
         WHERE known.${column} IS NULL OR known.${column} NOT IN (SELECT below.id FROM below)`,
        [root],
      );
      count += row?.count ?? 0;
    }
    return count;
  }

  async function write(route: RouteDefinition, id: string, by: Headers): Promise<void> {
    const { text } = await world.send('GET', `/${route.path.split('/')[1]}/${id}`, { as: by });
    const revision = text.startsWith('{') ? String((JSON.parse(text) as { revision?: number }).revision ?? 1) : '1';
    const as = { ...by, 'if-match': `"${revision}"` };
    const body = route.method === 'delete' ? {} : { body: BODIES[nameOf(route)] ?? {} };
    const said = await world.send(route.method.toUpperCase(), pathOf(route, id), { as, ...body });
    expect(said.status, `${nameOf(route)}: ${said.text}`).to.be.lessThan(500);
    expect(said.status, said.text).not.to.equal(401);
    if (said.status === 403) expect(said.body['type'], nameOf(route)).to.equal('/problems/beyond-scope');
  }

  /** A token that names a record goes with it, wherever it was made. */
  function tokensNaming(computerIds: readonly string[]): Promise<{ id: string }[]> {
    const text = 'SELECT id::text AS id FROM enrollment_tokens WHERE computer_id = ANY($1::uuid[])';
    return world.query<{ id: string }>(text, [computerIds]);
  }

  /** Everything that he may do to his own; deletions last. */
  async function onlyOwnChanges(reader: Reader): Promise<void> {
    // His first key is among what goes.
    const wanted = { name: `second ${randomUUID()}`, role: 'administrator', policyId: reader.root };
    const { key } = await world.make<{ key: string }>('/api-keys', wanted);
    const mine = { authorization: `Bearer ${key}` };
    const naming = await tokensNaming(reader.visible('computer'));
    const before = await rowsOf();
    const outside = await outsideOf(reader.root);
    const isLast = ({ method, path }: RouteDefinition): boolean => method === 'delete' || path.endsWith('/revoke');
    const writes = scoped().filter(({ method }) => method !== 'get');
    const ordered = [...writes.filter((route) => !isLast(route)), ...writes.filter(isLast)];
    for (const route of ordered.filter(hasId)) {
      const own = reader.visible(kindOf(route)).filter((id) => id !== reader.seed.shared.incident);
      for (const id of own.slice(0, 2)) await write(route, id, mine);
    }
    const own = { parentId: reader.root, name: `own ${randomUUID()}` };
    expect((await world.send('POST', '/policies', { as: mine, body: own })).status).to.equal(201);
    const after = await rowsOf();
    const seen = model.things.filter((thing) => model.sees(reader.root, thing));
    const ownIds = new Set([...seen, ...naming].map(({ id }) => id));
    for (const [table, rows] of before)
      for (const [id, digest] of rows)
        if (!ownIds.has(id)) expect(after.get(table)?.get(id), `${table} ${id}`).to.equal(digest);
    expect(await outsideOf(reader.root), 'nothing new elsewhere').to.be.at.most(outside);
  }

  it('is what a reference says, on every route, whatever the forest and the scope', async () => {
    let hiddenMet = 0;
    compared = 0;
    await fc.assert(
      fc.asyncProperty(plans, async ({ reader: chosen, ...plan }) => {
        const seed = await grow(plan);
        const reader = new Reader(world, seed, at(seed.policies, chosen));
        hiddenMet += reader.hidden.length;
        await listsAreExact(reader);
        await hiddenIsAbsent(reader);
        await namingTellsNothing(reader);
        await othersLeaveNoTrace(reader, plan);
        await onlyOwnChanges(reader);
      }),
      { numRuns: 5, endOnFailure: true },
    );
    expect(hiddenMet).to.be.greaterThan(100);
    expect(compared).to.be.greaterThan(100);
  });

  it('the routes of the whole manager are closed to it, and those of everyone tell nothing of others', async () => {
    const seed = await grow({ policies: [0, 1, 0], computers: [0, 1, 2], moves: [], policyMove: null });
    const reader = new Reader(world, seed, at(seed.policies, 1));
    for (const route of routes.filter(({ reach, permission }) => reach === undefined && permission !== 'public')) {
      const said = await reader.ask({ method: route.method.toUpperCase(), path: pathOf(route, randomUUID()) });
      expect([said.status, said.body['type']], nameOf(route)).to.deep.equal([403, '/problems/beyond-scope']);
    }
    for (const route of routes.filter(({ reach, method }) => reach === 'everyone' && method === 'get'))
      await reader.ask({ method: 'GET', path: route.path });
    // One's own sessions are one's own alone.
    for (const { id } of model.things.filter(({ kind }) => kind === 'session').slice(-4))
      expect((await reader.ask({ method: 'DELETE', path: `/sessions/${id}` })).status).to.equal(404);
  });

  it('what it sees and may not change answers 403', async () => {
    const seed = await grow({ policies: [0, 1, 0], computers: [1, 1, 2], moves: [], policyMove: null });
    const reader = new Reader(world, seed, at(seed.policies, 1));
    const { incident, window } = seed.shared;
    const below = (await world.make('/policies', { name: 'below', parentId: reader.root })).id;
    const same = { method: 'PATCH', path: `/policies/${reader.root}`, body: { parentId: null } };
    expect((await reader.ask(same)).status, 'what is shown of its parent').to.equal(200);
    const refused: readonly Request[] = [
      { method: 'PATCH', path: `/policies/${reader.root}`, body: { name: 'mine' } },
      { method: 'PATCH', path: `/policies/${reader.root}`, body: { parentId: at(seed.policies, 0) } },
      { method: 'DELETE', path: `/policies/${reader.root}` },
      { method: 'POST', path: '/policies', body: { name: 'a root', parentId: null } },
      { method: 'POST', path: `/policies/${reader.root}/preview`, body: { parentId: at(seed.policies, 0) } },
      { method: 'PATCH', path: `/policies/${below}`, body: { parentId: null } },
      { method: 'POST', path: `/policies/${below}/preview`, body: { parentId: null } },
      { method: 'POST', path: `/alerts/${incident}/acknowledge`, body: {} },
      { method: 'GET', path: `/alerts/${incident}/history` },
      { method: 'DELETE', path: `/maintenance-windows/${window}` },
      { method: 'POST', path: '/users', body: { name: 'x', role: 'auditor', password: 'long enough', policyId: null } },
      { method: 'PATCH', path: `/users/${reader.visible('user')[0]}`, body: { policyId: null } },
      { method: 'POST', path: '/api-keys', body: { name: 'x', role: 'auditor', policyId: null } },
    ];
    for (const request of refused) {
      const as = { ...reader.as, 'if-match': `"${await revisionOf(request.path)}"` };
      const said = await world.send(request.method, request.path, { as, body: request.body });
      expect([said.status, said.body['type']], request.path).to.deep.equal([403, '/problems/beyond-scope']);
    }
    const { body } = await reader.ask({ method: 'GET', path: `/alerts/${incident}` });
    expect(body['detail']).to.deep.equal({ factor: 'policies above those that you may see', children: 2 });
  });

  async function revisionOf(path: string): Promise<unknown> {
    const [, list, id] = path.split('/');
    const { text } = await world.send('GET', `/${list}/${id}`, { as: world.fleet });
    return text.startsWith('{') ? ((JSON.parse(text) as { revision?: number }).revision ?? 1) : 1;
  }
});
