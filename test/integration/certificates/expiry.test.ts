import { randomBytes, randomUUID } from 'node:crypto';
import { expect } from 'chai';
import { Scope } from '../../../server/access/scope.js';
import type { Page } from '../../../server/admin-api/page.js';
import { createAlertWriter } from '../../../server/alerts/alert-writer.js';
import type { CertificateDto, ForecastDto } from '../../../server/certificates/certificate-dto.js';
import { createCertificateRepository } from '../../../server/certificates/certificate-repository.js';
import { certificateRoutes } from '../../../server/certificates/certificate-routes.js';
import { createExpiryJob, type ExpiryJob } from '../../../server/certificates/expiry-job.js';
import { createHotTransaction } from '../../../server/database/hot-transaction.js';
import { createPoolUnitOfWork } from '../../../server/database/in-transaction.js';
import { sqlOfClient } from '../../../server/database/sql.js';
import { createSettingsCache } from '../../../server/policies/cached-settings.js';
import { createClaimedJob } from '../../../server/scheduler/claimed-job.js';
import { createSystemRandom } from '../../../lib/random.js';
import { useDatabase } from '../../support/database.js';
import { callerOf } from '../../support/domain-world.js';
import { addComputers, changePolicy, handClock, POLICY_ID, seedForest } from '../../support/ingest-world.js';

const DAY_MS = 86_400_000;
const { signal } = new AbortController();

describe('the dates of certificates', () => {
  const database = useDatabase();
  const clock = handClock();
  const random = createSystemRandom();
  const certificates = createCertificateRepository();
  let job: ExpiryJob;
  let call: ReturnType<typeof callerOf>;
  let settings: ReturnType<typeof createSettingsCache>;

  before(async () => {
    await seedForest(database.pool);
    const sql = sqlOfClient(database.pool);
    settings = createSettingsCache({ sql });
    await settings.refresh();
    const inTransaction = createHotTransaction(createPoolUnitOfWork(database.pool, { clock, random }));
    job = createExpiryJob({
      job: createClaimedJob({ name: 'certificate-expiry', owner: 'node-1', inTransaction, fleetClock: clock }),
      settings,
      alerts: createAlertWriter({ random }),
      fleetClock: clock,
    });
    const own = () => [{ name: 'manager', notAfter: clock.now + 100 * DAY_MS }];
    call = callerOf(certificateRoutes({ sql, trustedNow: () => clock.now, own }));
  });

  beforeEach(async () => {
    for (const table of ['alert_outbox', 'alerts', 'certificates', 'computer_status', 'computer_live', 'computers'])
      await database.pool.query(`DELETE FROM ${table}`);
    await database.pool.query('DELETE FROM policies WHERE parent_id IS NOT NULL');
    await changePolicy(database.pool, {});
    await settings.refresh();
  });

  const issue = async (computerId: string, days: readonly [from: number, until: number], renews?: string) => {
    const serial = randomBytes(16).toString('hex');
    const [notBefore, notAfter] = days.map((day) => clock.now + day * DAY_MS) as [number, number];
    await certificates.insert(sqlOfClient(database.pool), {
      serial,
      computerId,
      keyDigest: 'ab'.repeat(32),
      pem: 'pem',
      notBefore,
      notAfter,
      issuedAt: notBefore,
      ...(renews === undefined ? {} : { renews }),
    });
    return serial;
  };
  /** To a policy that is made for it. */
  const moveBelow = async (computerId: string): Promise<string> => {
    const below = randomUUID();
    await database.pool.query(
      `INSERT INTO policies (id, parent_id, name, description, settings, locks, revision, created_at, updated_at,
         verdict_rules_fleet_ms)
       SELECT $2::uuid, id, 'below ' || $2::text, '', '{}', '{}', 1, created_at, updated_at, verdict_rules_fleet_ms
       FROM policies WHERE id = $1`,
      [POLICY_ID, below],
    );
    await database.pool.query('UPDATE computers SET policy_id = $2 WHERE id = $1', [computerId, below]);
    return below;
  };
  const alerts = async () => {
    const { rows } = await database.pool.query<{ subject: string; state: string; reason: string }>(
      'SELECT subject, state, reason FROM alerts ORDER BY raised_fleet_ms, subject',
    );
    return rows;
  };
  const open = async () => (await alerts()).filter(({ state }) => state === 'raised').map(({ subject }) => subject);

  describe('raise certificate-expiring', () => {
    it('from so many days before the end on as the policy says, once, and no more when it is renewed', async () => {
      const [web1 = '', db1 = ''] = await addComputers(database.pool, 2);
      const first = await issue(web1, [-22, 8]);
      await issue(db1, [-10, 20]);
      await job.run(signal);
      expect(await open()).to.deep.equal([]);
      clock.now += DAY_MS + 1;
      await job.run(signal);
      await job.run(signal);
      expect(await open()).to.deep.equal([web1]);
      expect(await alerts()).to.have.length(1);
      await issue(web1, [0, 30], first);
      await job.run(signal);
      expect((await alerts()).map(({ state }) => state)).to.deep.equal(['resolved']);
    });

    it('by the settings of each computer, and resolves it when they change', async () => {
      const [web1 = '', db1 = ''] = await addComputers(database.pool, 2);
      await issue(web1, [-21, 9]);
      await issue(db1, [-21, 9]);
      const overrides = JSON.stringify({ certificateExpiryAlertDays: 9 });
      await database.pool.query('UPDATE computers SET overrides = $2 WHERE id = $1', [web1, overrides]);
      await job.run(signal);
      expect(await open()).to.deep.equal([web1]);
      await database.pool.query('UPDATE computers SET overrides = NULL WHERE id = $1', [web1]);
      await job.run(signal);
      expect(await open()).to.deep.equal([]);
    });

    it('and leaves it as it is while the settings of a new policy are not known yet', async () => {
      const [web1 = '', db1 = ''] = await addComputers(database.pool, 2);
      await issue(web1, [-29, 1]);
      await job.run(signal);
      await issue(db1, [-29, 1]);
      for (const id of [web1, db1]) await moveBelow(id);
      await job.run(signal);
      expect(await open()).to.deep.equal([web1]);
      await changePolicy(database.pool, {});
      await settings.refresh();
      await job.run(signal);
      expect(await open()).to.have.members([web1, db1]);
      expect(await alerts()).to.have.length(2);
    });

    it('says that it has expired where nobody was there to look', async () => {
      const [web1 = ''] = await addComputers(database.pool, 1);
      await issue(web1, [-40, -10]);
      await job.run(signal);
      expect(await alerts()).to.deep.equal([{ subject: web1, state: 'raised', reason: 'certificate-expired' }]);
    });

    it('for nobody who is revoked or removed', async () => {
      const [web1 = '', db1 = ''] = await addComputers(database.pool, 2);
      await issue(web1, [-29, 1]);
      await issue(db1, [-29, 1]);
      await job.run(signal);
      expect(await open()).to.have.members([web1, db1]);
      await certificates.revokeOf(sqlOfClient(database.pool), web1, { reason: 'computer-revoked', at: clock.now });
      await database.pool.query('DELETE FROM computers WHERE id = $1', [db1]);
      await job.run(signal);
      expect(await open()).to.deep.equal([]);
    });

    it('for more than fit into one look', async () => {
      const ids = await addComputers(database.pool, 1003);
      const sql = sqlOfClient(database.pool);
      await certificates.insertAll(
        sql,
        ids.map((computerId) => ({
          serial: randomBytes(16).toString('hex'),
          computerId,
          keyDigest: 'ab'.repeat(32),
          pem: 'pem',
          notBefore: clock.now - 29 * DAY_MS,
          notAfter: clock.now + DAY_MS,
          issuedAt: clock.now,
        })),
      );
      await job.run(signal);
      expect(await open()).to.have.length(1003);
      await job.run(signal);
      expect(await alerts()).to.have.length(1003);
      await database.pool.query('UPDATE certificates SET revoked_at = not_before');
      await job.run(signal);
      expect(await open()).to.deep.equal([]);
    });
  });

  it('forgets what was revoked and has been over for a month, and nothing else', async () => {
    const [web1 = ''] = await addComputers(database.pool, 1);
    const [old, kept, expired] = [
      await issue(web1, [-90, -31]),
      await issue(web1, [-80, -29]),
      await issue(web1, [-200, -100]),
    ];
    await database.pool.query('UPDATE certificates SET revoked_at = not_before WHERE serial = ANY($1)', [[old, kept]]);
    await job.tidy(signal);
    const { rows } = await database.pool.query<{ serial: string }>('SELECT serial FROM certificates');
    expect(rows.map(({ serial }) => serial)).to.have.members([kept, expired]);
  });

  describe('are listed', () => {
    const list = async (query: object = {}, scope: Scope = Scope.all) =>
      (await call<Page<CertificateDto>>('get', '/certificates', { query, scope })).body;
    const serials = async (query: object = {}, scope?: Scope) =>
      (await list(query, scope)).items.map(({ serial }) => serial);

    it('by their end, with filters, page by page, within a scope', async () => {
      const [web1 = '', db1 = ''] = await addComputers(database.pool, 2);
      await database.pool.query(`UPDATE computers SET name = 'db_1' WHERE id = $1`, [db1]);
      const first = await issue(web1, [-20, 10]);
      const next = await issue(web1, [0, 30], first);
      const over = await issue(db1, [-40, -10]);
      const orphan = await issue(randomUUID(), [0, 5]);
      await certificates.use(sqlOfClient(database.pool), [next], clock.now);
      expect(await serials()).to.deep.equal([over, orphan, first, next]);
      expect(await serials({ sort: '-notAfter' })).to.deep.equal([next, first, orphan, over]);
      expect(await serials({ state: 'valid' })).to.deep.equal([orphan, next]);
      expect(await serials({ state: 'expired' })).to.deep.equal([over]);
      expect(await serials({ state: 'revoked', computerId: web1 })).to.deep.equal([first]);
      expect(await serials({ q: 'DB_' })).to.deep.equal([over]);
      expect(await serials({ expiresBefore: new Date(clock.now + 6 * DAY_MS).toISOString() })).to.deep.equal([
        over,
        orphan,
      ]);
      const page = await list({ limit: 3 });
      expect((await list({ limit: 3, cursor: page.next })).items.map(({ serial }) => serial)).to.deep.equal([next]);
      const scope = Scope.subtrees([POLICY_ID]);
      expect(await serials({}, scope)).to.deep.equal([over, first, next]);
      expect(await serials({}, Scope.subtrees([randomUUID()]))).to.deep.equal([]);
      expect(await serials({ policyId: POLICY_ID })).to.deep.equal([over, first, next]);
      const [shown] = (await list({ computerId: web1, state: 'valid' })).items;
      expect(shown).to.deep.include({ state: 'valid', computerName: 'web', renews: first, revokedAt: null });
      expect(shown?.usedAt).to.equal(new Date(clock.now).toISOString());
    });
  });

  it('are neither listed nor forecast below a policy that the reader may not see, though it stands above the scope', async () => {
    const [web1 = ''] = await addComputers(database.pool, 1);
    const below = await moveBelow(web1);
    await issue(web1, [0, 30]);
    const scope = Scope.subtrees([below]);
    const counts = async (policyId: string) => {
      const query = { policyId };
      const { body: page } = await call<Page<CertificateDto>>('get', '/certificates', { query, scope });
      const { body: forecast } = await call<ForecastDto>('get', '/certificates/forecast', { query, scope });
      return [page.items.length, forecast.computers];
    };
    expect(await counts(below)).to.deep.equal([1, 1]);
    expect(await counts(POLICY_ID)).to.deep.equal([0, 0]);
  });

  it('are forecast by day: one certificate of each computer, its newest', async () => {
    const ids = await addComputers(database.pool, 4);
    const [web1 = '', db1 = '', lab1 = '', gone = ''] = ids;
    const first = await issue(web1, [-15, 15]);
    await issue(web1, [0, 30], first);
    await issue(db1, [-25, 5]);
    await issue(lab1, [-31, -1]);
    await issue(gone, [0, 30]);
    await database.pool.query(`UPDATE computer_status SET status = 'revoked' WHERE computer_id = $1`, [gone]);
    const forecast = async (query: object, scope?: Scope) =>
      (await call<ForecastDto>('get', '/certificates/forecast', { query, ...(scope ? { scope } : {}) })).body;
    const told = await forecast({ days: 31 });
    expect(told).to.deep.include({ computers: 3, expired: 1, late: 2, unused: 1 });
    expect(told.days).to.have.length(31);
    const day = (days: number): string => new Date(clock.now + days * DAY_MS).toISOString().slice(0, 10);
    expect(told.days.filter(({ expiring }) => expiring > 0)).to.deep.equal([
      { day: day(5), expiring: 1, renewing: 0 },
      { day: day(30), expiring: 1, renewing: 0 },
    ]);
    expect(told.days.filter(({ renewing }) => renewing > 0).map((one) => one.day)).to.deep.equal([day(15)]);
    expect(told.manager).to.deep.equal([
      { name: 'manager', notAfter: new Date(clock.now + 100 * DAY_MS).toISOString() },
    ]);
    expect(await forecast({ days: 1 }, Scope.subtrees([randomUUID()]))).to.deep.include({ computers: 0, late: 0 });
  });
});
