import { expect } from 'chai';
import { createSystemRandom } from '../../../lib/random.js';
import { Problem } from '../../../lib/problem.js';
import { Scope } from '../../../server/access/scope.js';
import type { Actor } from '../../../server/access/actor.js';
import { AlertQuery } from '../../../server/alerts/alert-dto.js';
import { listAlerts } from '../../../server/alerts/alert-overview-query.js';
import { createAlertService, type AlertService } from '../../../server/alerts/alert-service.js';
import { createAlertOutbox } from '../../../server/alerts/alert-outbox.js';
import { createAlertWriter } from '../../../server/alerts/alert-writer.js';
import type { AuditEntry } from '../../../server/audit/audit.js';
import { createUnitOfWork } from '../../../server/database/in-transaction.js';
import { sqlOfClient } from '../../../server/database/sql.js';
import { useDatabase } from '../../support/database.js';
import { START, VerdictWorld } from '../../support/verdict-world.js';

const ADA: Actor = { kind: 'user', id: 'ada', name: 'ada', role: 'administrator', sourceAddress: null };

describe('alerts for operators', () => {
  const database = useDatabase();
  const random = createSystemRandom();
  const writer = createAlertWriter({ random });
  let world: VerdictWorld;
  let audited: AuditEntry[];
  let covered: string[];
  let alerts: AlertService;
  const sql = () => sqlOfClient(database.pool);

  beforeEach(async () => {
    world = new VerdictWorld(database);
    await world.open();
    audited = [];
    covered = [];
    alerts = createAlertService({
      outbox: createAlertOutbox({ random }),
      fleetClock: world.clock,
      inTransaction: createUnitOfWork(database.dataSource, { clock: world.clock, random }),
      audit: {
        append: async (_sql, entry) => void audited.push(entry),
        appendAll: async (_sql, entries) => void audited.push(...entries),
      },
      covered: {
        lock: async (_sql, { type }) => void covered.push(`lock ${type}`),
        uncover: async (_sql, { type }, at) => void covered.push(`uncover ${type} ${at - START}`),
      },
    });
  });

  const raise = async (type: string, computerId: string, raisedAt: number) => {
    const condition = {
      type,
      subject: computerId,
      computerId,
      raisedAt: START + raisedAt,
      reason: 'unknown',
      detail: {},
    };
    await writer.raise(sql(), [condition]);
    const { rows } = await database.pool.query('SELECT id FROM alerts WHERE type = $1 AND subject = $2', [
      type,
      computerId,
    ]);
    return rows[0].id as string;
  };
  const list = (filters: Partial<AlertQuery> = {}, scope: Scope = Scope.all) =>
    listAlerts(sql(), scope, Object.assign(new AlertQuery(), filters));
  const codeOf = async (work: Promise<unknown>) =>
    work.then(
      () => undefined,
      (error: unknown) => (error instanceof Problem ? error.code : String(error)),
    );
  const command = (id: string, scope: Scope = Scope.all) => ({ id, actor: ADA, scope, comment: 'looked' });

  it('acknowledges and dismisses with an audit row each', async () => {
    const id = await raise('clock-changed', await world.computer(), 10);
    await alerts.acknowledge(command(id));
    const dismissed = await alerts.dismiss(command(id));
    expect(dismissed).to.include({ state: 'dismissed', closedBy: 'ada', computerName: 'web1' });
    expect((await list()).items[0]).to.deep.equal(dismissed);
    expect(audited.map(({ action, subjectId }) => [action, subjectId])).to.deep.equal([
      ['alert.acknowledged', id],
      ['alert.dismissed', id],
    ]);
    expect(await codeOf(alerts.dismiss(command(id)))).to.equal('alert-already-closed');
    expect(audited).to.have.lengthOf(2);
  });

  it('uncovers what an alert covered when it is dismissed, and only then', async () => {
    const ours = await world.policy();
    const id = await raise('clock-changed', await world.computer({ policyId: ours }), 10);
    await alerts.acknowledge(command(id));
    await codeOf(alerts.dismiss(command(id, Scope.subtrees([await world.policy()]))));
    expect(covered).to.deep.equal([]);
    await alerts.dismiss(command(id));
    expect(covered).to.deep.equal(['lock clock-changed', 'uncover clock-changed 10']);
    expect(await codeOf(alerts.dismiss(command(id)))).to.equal('alert-already-closed');
    expect(covered.slice(2)).to.deep.equal(['lock clock-changed']);
  });

  it('leaves out what another open alert of the subject covers', async () => {
    const [web1, db1] = [await world.computer(), await world.computer()];
    const drift = (computerId: string) => ({
      type: 'clock-drift',
      subject: computerId,
      computerId,
      raisedAt: START,
      reason: 'clock-drift',
      detail: {},
      unlessOpen: 'clock-changed',
    });
    const typesOf = async (computerId: string) =>
      (await list({ computerId })).items.map(({ type, state, occurrences }) => `${type} ${state} ${occurrences}`);
    await writer.raise(sql(), [drift(web1), drift(db1), { ...drift(web1), type: 'clock-changed' }]);
    expect(await typesOf(web1)).to.deep.equal(['clock-changed raised 1']);
    expect(await typesOf(db1)).to.deep.equal(['clock-drift raised 1']);
    const [changed] = (await list({ computerId: web1 })).items;
    await alerts.acknowledge(command(changed?.id ?? ''));
    await writer.raise(sql(), [drift(web1)]);
    expect(await typesOf(web1)).to.deep.equal(['clock-changed acknowledged 1']);
    await writer.raise(sql(), [{ ...drift(db1), unlessOpen: 'clock-drift' }]);
    expect(await typesOf(db1)).to.deep.equal(['clock-drift raised 1']);
    await alerts.dismiss(command(changed?.id ?? ''));
    await writer.raise(sql(), [drift(web1)]);
    expect(await typesOf(web1)).to.have.members(['clock-changed dismissed 1', 'clock-drift raised 1']);
  });

  it('refuses to dismiss what resolves itself', async () => {
    const id = await raise('computer-offline', await world.computer(), 10);
    expect(await codeOf(alerts.dismiss(command(id)))).to.equal('alert-resolves-itself');
    expect((await list()).items[0]?.state).to.equal('raised');
  });

  it('shows an alert only to a scope that holds its computer', async () => {
    const [ours, theirs] = [await world.policy(), await world.policy()];
    const id = await raise('clock-changed', await world.computer({ policyId: ours }), 10);
    expect((await list({}, Scope.subtrees([ours]))).items).to.have.lengthOf(1);
    expect((await list({}, Scope.subtrees([theirs]))).items).to.have.lengthOf(0);
    expect(await codeOf(alerts.acknowledge(command(id, Scope.subtrees([theirs]))))).to.equal('alert-not-found');
    expect((await list({ policyId: theirs })).items).to.have.lengthOf(0);
    expect((await list({ policyId: ours })).items).to.have.lengthOf(1);
  });

  it('filters by state, type, severity, computer and name', async () => {
    const [web1, db1] = [await world.computer(), await world.computer()];
    await raise('clock-changed', web1, 10);
    await raise('computer-offline', db1, 20);
    const types = async (filters: Partial<AlertQuery>) => (await list(filters)).items.map(({ type }) => type);
    expect(await types({})).to.deep.equal(['computer-offline', 'clock-changed']);
    expect(await types({ type: 'clock-changed' })).to.deep.equal(['clock-changed']);
    expect(await types({ severity: 'high' })).to.deep.equal(['computer-offline']);
    expect(await types({ computerId: web1 })).to.deep.equal(['clock-changed']);
    expect(await types({ state: 'resolved' })).to.deep.equal([]);
    expect(await types({ q: 'EB', sort: 'raisedAt' })).to.deep.equal(['clock-changed', 'computer-offline']);
    expect(await types({ q: '%' })).to.deep.equal([]);
  });

  it('pages without gap or repeat through alerts raised at the same instant', async () => {
    for (let count = 0; count < 5; count += 1) await raise('clock-changed', await world.computer(), 10);
    const seen: string[] = [];
    let cursor: string | null | undefined;
    do {
      const page = await list({ limit: 2, ...(cursor ? { cursor } : {}) });
      seen.push(...page.items.map(({ id }) => id));
      cursor = page.next;
    } while (cursor);
    expect(new Set(seen).size).to.equal(5);
    expect(seen).to.have.lengthOf(5);
  });

  it('counts the repeats of one batch', async () => {
    const web1 = await world.computer();
    const condition = {
      type: 'spool-gap',
      subject: web1,
      computerId: web1,
      raisedAt: START,
      reason: 'gap',
      detail: {},
    };
    await writer.raise(sql(), [condition, condition, condition]);
    expect((await world.alerts())[0]?.occurrences).to.equal(3);
  });

  it('resolves what is open of a type and never before it was raised', async () => {
    const web1 = await world.computer();
    await raise('component-offline', web1, 10);
    await writer.resolve(sql(), 'component-offline', [{ subject: web1, at: START + 5 }]);
    expect((await world.alerts())[0]).to.include({ state: 'resolved', closedAt: 10 });
    await writer.resolve(sql(), 'component-offline', [{ subject: web1, at: START + 50 }]);
    expect((await world.alerts())[0]).to.include({ closedAt: 10 });
  });
});
