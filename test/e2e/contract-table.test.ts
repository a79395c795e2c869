import { expect } from 'chai';
import {
  ADMIN_PASSWORD,
  makeDataDir,
  removeDataDir,
  startManager,
  type ManagerProcess,
} from '../support/manager-process.js';

interface Listed {
  readonly items: readonly Record<string, unknown>[];
  readonly next: string | null;
}

const COMPUTER =
  'id name kind address addressSource policy labels status statusReason statusSince lastSeenAt missedHeartbeats ' +
  'nextExpectedAt offlineAt clockOffsetMs settingsState fingerprint communicationDirection connectionMode ' +
  'carrierInUse channel listenerReachable lastDial agentVersion platform flags';
const DETAIL = 'components counters facts agentTimeAt tls certificate';
const CATALOGUE = 'key type unit default range stricter audience apply effective description';
const JOB = 'name cron lastRunAt nextRunAt lastDurationMs runs lastError';

describe("the contract's table of routes, on the real manager", function () {
  this.timeout(60_000);
  const root = makeDataDir();
  let manager: ManagerProcess;
  let policyId: string;
  let computerId: string;

  before(async () => {
    manager = await startManager({ dataDir: root });
    await manager.api.signIn('admin', ADMIN_PASSWORD);
    policyId = String((await manager.api.get<Listed>('/policies')).items[0]?.['id']);
    const body = { name: 'pre', kind: 'agent', policyId, address: 'host:4118', labels: { site: 'x' } };
    computerId = (await manager.api.post<{ id: string }>('/computers', { ...body, powerState: 'stopped' })).id;
    await manager.api.post('/enrollment-tokens', { policyId, uses: 1, expiresInSeconds: 60 });
  });

  after(async () => {
    await manager?.stop();
    removeDataDir(root);
  });

  it('gives every member that is named', async () => {
    const computer = await manager.api.get(`/computers/${computerId}`);
    expect(computer).to.include.keys([...COMPUTER.split(' '), ...DETAIL.split(' ')]);
    const [listed] = (await manager.api.get<Listed>('/computers')).items;
    expect(listed).to.include.keys(COMPUTER.split(' '));
    expect(listed).not.to.include.keys(DETAIL.split(' '));
    for (const setting of (await manager.api.get<Listed>('/settings-catalogue')).items)
      expect(setting).to.include.keys(CATALOGUE.split(' '));
    for (const job of (await manager.api.get<Listed>('/system/jobs')).items) {
      expect(job).to.have.all.keys(JOB.split(' '));
      expect(job['runs']).to.have.all.keys('cron', 'wakeup', 'supervisor');
    }
    const system = await manager.api.get('/system');
    expect(system).to.include.keys('adminUrl', 'agentUrl', 'ports', 'caFingerprint', 'versions', 'verdicts');
    expect(system['verdicts']).to.have.all.keys('state', 'reason', 'since', 'until');
  });

  const lists = [
    '/policies',
    '/users',
    '/audit',
    '/events',
    '/alerts',
    '/api-keys',
    '/enrollment-tokens',
    '/computers',
  ];
  it('lists take limit, cursor, sort and q, and answer items and next', async () => {
    const histories = ['status-history', 'events'].map((name) => `/computers/${computerId}/${name}`);
    for (const path of [...lists, ...histories]) {
      const page = await manager.api.get<Listed>(`${path}?limit=1`);
      expect(page, path).to.have.all.keys('items', 'next');
      const none = await manager.api.get<Listed>(`${path}?q=nobody-is-called-so`);
      expect(none, path).to.deep.equal({ items: [], next: null });
      if (page.next !== null) await manager.api.get(`${path}?limit=1&cursor=${page.next}`);
      const { status } = await manager.api.request('GET', `${path}?sort=nothing`);
      expect(status, path).to.equal(400);
    }
  });

  it('a search finds tokens by their policy and by who made them', async () => {
    for (const q of ['base', 'admin', 'ADM'])
      expect((await manager.api.get<Listed>(`/enrollment-tokens?q=${q}`)).items.length, q).to.be.greaterThan(0);
  });

  it('lists without any text refuse q, instead of ignoring it', async () => {
    const paths = [`/computers/${computerId}/heartbeats`, `/computers/${computerId}/gaps`];
    for (const path of [...paths, `/policies/${policyId}/revisions`]) {
      const { status, body } = await manager.api.request<{ errors: { pointer: string }[] }>('GET', `${path}?q=x`);
      expect([status, body.errors[0]?.pointer], path).to.deep.equal([400, '#/q']);
      expect(await manager.api.get<Listed>(path)).to.include.keys('items', 'next');
    }
  });

  it('a power state expires at an RFC 3339 instant, and at nothing else', async () => {
    const put = (expiresAt: string) =>
      manager.api.request('PUT', `/computers/${computerId}/power-state`, { body: { state: 'running', expiresAt } });
    const refused = ['2027-W01', '2027-W01-1', '2027-001', '2027-01-01', '2027-01-01T00:00:00', '2027-02-30T00:00:00Z'];
    for (const expiresAt of [...refused, 'tomorrow', '']) {
      const { status, body } = await put(expiresAt);
      expect([status, body['type']], expiresAt).to.deep.equal([400, '/problems/request-invalid']);
    }
    const { status, body } = await put('2030-01-01T00:00:00+02:00');
    expect(status).to.equal(200);
    expect(body['powerState']).to.include({ state: 'running', expiresAt: '2029-12-31T22:00:00.000Z' });
  });
});
