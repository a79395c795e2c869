import { expect } from 'chai';
import { useDatabase } from '../../support/database.js';
import { startAdminWorld, type AdminWorld } from '../admin-api/admin-world.js';

interface Row {
  readonly id: string;
  readonly action: string;
  readonly actorName: string;
  readonly subjectId: string;
  readonly sourceAddress: string;
  readonly before: unknown;
  readonly after: unknown;
}

describe('the audit log', function () {
  this.timeout(30_000);
  const database = useDatabase();
  let world: AdminWorld;
  before(async () => void (world = await startAdminWorld(database)));
  after(() => world.close());

  it('tells who changed what, from where, with before and after', async () => {
    const admin = await world.admin();
    const { id } = await admin.post<{ id: string }>('/users', {
      name: 'rex',
      role: 'auditor',
      password: 'long enough',
    });
    await admin.patch(`/users/${id}`, { role: 'operator' });
    await admin.request('DELETE', `/users/${id}`);
    const { items } = await admin.get<{ items: Row[] }>(`/audit?subjectId=${id}`);
    const rex = { name: 'rex', policyId: null, mustChangePassword: false, disabled: false };
    expect(items.map(({ action, before, after }) => ({ action, before, after }))).to.have.deep.members([
      { action: 'user.created', before: null, after: { ...rex, role: 'auditor' } },
      { action: 'user.role-changed', before: { ...rex, role: 'auditor' }, after: { ...rex, role: 'operator' } },
      { action: 'user.deleted', before: { ...rex, role: 'operator' }, after: null },
    ]);
    expect(items.every((row) => row.actorName === 'admin' && row.sourceAddress === '127.0.0.1')).to.equal(true);
  });

  it('keeps nothing of a change that was refused', async () => {
    const admin = await world.admin();
    const body = { name: 'admin', role: 'auditor', password: 'long enough' };
    const count = async () => (await admin.get<{ items: Row[] }>('/audit?action=user.created&limit=500')).items.length;
    const before = await count();
    expect((await admin.request('POST', '/users', { body })).status).to.equal(409);
    expect(await count()).to.equal(before);
  });

  it('is paged newest first without a repeat or a gap while rows arrive', async () => {
    const admin = await world.admin();
    for (let index = 0; index < 8; index += 1) await world.admin();
    const seen: string[] = [];
    let cursor = '';
    do {
      const page: { items: Row[]; next: string | null } = await admin.get(`/audit?limit=3${cursor}`);
      seen.push(...page.items.map(({ id }) => id));
      cursor = page.next === null ? '' : `&cursor=${page.next}`;
      await world.admin();
    } while (cursor !== '');
    expect(new Set(seen).size).to.equal(seen.length);
    const { rows } = await database.pool.query<{ id: string }>('SELECT id FROM audit_log ORDER BY at DESC, id DESC');
    const all = rows.map(({ id }) => id);
    expect(seen).to.deep.equal(all.slice(all.indexOf(seen[0] ?? '')));
  });

  it('cannot be changed by the role the manager works as', async () => {
    for (const statement of [
      'UPDATE audit_log SET actor_name = $$x$$',
      'DELETE FROM audit_log',
      'TRUNCATE audit_log',
    ]) {
      const failure = await database.pool.query(statement).catch((error: unknown) => error);
      expect(failure).to.include({ code: '42501' });
    }
  });
});
