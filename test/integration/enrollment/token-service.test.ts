import { expect } from 'chai';
import type { Page } from '../../../server/admin-api/page.js';
import { ComputerEntity, ComputerRevisionEntity } from '../../../server/computers/index.js';
import type { EnrollmentTokenDto } from '../../../server/enrollment/token-dto.js';
import type { CreatedToken } from '../../../server/enrollment/token-service.js';
import { hashEnrollmentSecret, parseEnrollmentToken } from '../../../protocol/enrollment-token.js';
import { PolicyEntity, PolicyRevisionEntity } from '../../../server/policies/policy-entity.js';
import { CA_FINGERPRINT, startComputers, type ComputerWorld } from '../../support/computer-world.js';
import { useDatabase } from '../../support/database.js';
import { problemOf } from '../../support/domain-world.js';

describe('enrollment tokens', () => {
  const database = useDatabase({
    entities: [PolicyEntity, PolicyRevisionEntity, ComputerEntity, ComputerRevisionEntity],
  });
  let world: ComputerWorld;

  before(async () => {
    world = await startComputers(database);
  });

  const make = async (body: object = {}) =>
    (
      await world.call<CreatedToken>('post', '/enrollment-tokens', {
        body: { policyId: world.base.id, uses: 1, expiresInSeconds: 600, ...body },
      })
    ).body;
  const list = async (query: object = {}) =>
    (await world.call<Page<EnrollmentTokenDto>>('get', '/enrollment-tokens', { query })).body;

  it('are shown once, and only the hash of their secret is stored', async () => {
    const made = await make({ uses: 3, labels: { site: 'a' }, ratePerSecond: 2.5 });
    const parsed = parseEnrollmentToken(made.token)!;
    expect(parsed.caFingerprint).to.equal(CA_FINGERPRINT);
    expect(made.command).to.equal(
      'npm run --silent agent -- enroll --manager https://manager:4120 --token-file enrollment-token.txt',
    );
    const [row] = await world.sql.query<{ token_hash: Buffer }>(
      'SELECT token_hash FROM enrollment_tokens WHERE id = $1',
      [made.id],
    );
    expect(row!.token_hash.equals(hashEnrollmentSecret(parsed.secret))).to.equal(true);
    const listed = await list();
    expect(listed.items[0]).to.deep.equal({
      id: made.id,
      policy: { id: world.base.id, name: 'Base Policy' },
      kind: 'agent',
      labels: { site: 'a' },
      uses: 3,
      used: 0,
      expiresAt: new Date(world.clock.wall() + 600_000).toISOString(),
      ratePerSecond: 2.5,
      computerId: null,
      createdAt: new Date(world.clock.wall()).toISOString(),
      createdBy: 'ada',
    });
    const told = JSON.stringify([listed, world.audit.entries]);
    expect(told).to.not.contain(parsed.secret).and.not.contain(hashEnrollmentSecret(parsed.secret).toString('hex'));
  });

  it('name a record made beforehand, once and of its kind', async () => {
    const appliance = await world.makeComputer({ kind: 'appliance' });
    const made = await make({ computerId: appliance.id });
    const [listed] = (await list()).items.filter(({ id }) => id === made.id);
    expect(listed).to.include({ kind: 'appliance', computerId: appliance.id });
    const refused: readonly [object, string][] = [
      [{ computerId: appliance.id, uses: 2 }, 'request-invalid'],
      [{ computerId: appliance.id, kind: 'agent' }, 'request-invalid'],
      [{ computerId: world.random.uuid() }, 'computer-not-found'],
      [{ policyId: world.random.uuid() }, 'policy-not-found'],
    ];
    for (const [body, code] of refused) expect((await problemOf(make(body))).code).to.equal(code);
  });

  it('are deleted, and then there is none', async () => {
    const { id } = await make();
    const remove = () => world.call('delete', '/enrollment-tokens/:id', { params: { id } });
    expect((await remove()).status).to.equal(204);
    expect((await problemOf(remove())).code).to.equal('enrollment-token-not-found');
  });

  it('keep their policy while they can be used, move with it, and go with it when they cannot', async () => {
    const policy = await world.makePolicy(world.base.id);
    const params = { id: policy.id };
    const { id } = await make({ policyId: policy.id });
    const refused = await problemOf(world.call('delete', '/policies/:id', { params }));
    expect(refused.members['enrollmentTokens']).to.deep.equal([{ id, name: `enrollment token ${id}` }]);
    const next = await world.makePolicy(world.base.id);
    await world.call('delete', '/policies/:id', { params, query: { reassignTo: next.id } });
    expect((await list()).items.find((token) => token.id === id)!.policy.id).to.equal(next.id);
    world.clock.advance(600_000);
    await world.call('delete', '/policies/:id', { params: { id: next.id } });
    expect((await list()).items.some((token) => token.id === id)).to.equal(false);
  });

  it('are listed newest first over pages', async () => {
    const made: string[] = [];
    for (let index = 0; index < 3; index += 1) {
      world.clock.advance(1000);
      made.unshift((await make()).id);
    }
    const first = await list({ limit: 2 });
    const second = await list({ limit: 2, cursor: first.next });
    expect([...first.items, ...second.items].slice(0, 3).map(({ id }) => id)).to.deep.equal(made);
  });
});
