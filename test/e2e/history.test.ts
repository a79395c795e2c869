import { expect } from 'chai';
import { join } from 'node:path';
import pg from 'pg';
import { readEmbeddedConnections } from '../../server/database/embedded-postgres.js';
import { enrollAgent, startAgent, type RunningAgent } from '../support/agent-cli.js';
import {
  ADMIN_PASSWORD,
  makeDataDir,
  removeDataDir,
  startManager,
  type ManagerProcess,
} from '../support/manager-process.js';
import { eventually } from '../support/poll.js';
import { runWardbeat } from '../support/wardbeat-cli.js';

interface Listed<T> {
  readonly items: readonly T[];
}
interface Heartbeat {
  readonly receivedAt: string;
  readonly latenessMs: number | null;
  readonly clockOffsetMs: number | null;
  readonly latencyMs: number | null;
}
interface Gap {
  readonly from: string;
  readonly until: string;
}
interface Event {
  readonly kind: string;
  readonly computerId: string | null;
  readonly data: Record<string, unknown>;
}
interface Verification {
  readonly sound: boolean;
  readonly verified: number;
  readonly waiting: number | null;
  readonly checkpoint: string | null;
}

describe('history and the sealed audit log, on the real manager', function () {
  this.timeout(120_000);
  const root = makeDataDir();
  const dataDir = join(root, 'manager');
  const agentDir = join(root, 'agent');
  const env = { WARDBEAT_DATA_DIR: dataDir };
  let manager: ManagerProcess;
  let agent: RunningAgent;
  let policyId: string;
  let computerId: string;

  const heartbeats = async () =>
    (await manager.api.get<Listed<Heartbeat>>(`/computers/${computerId}/heartbeats?sort=receivedAt`)).items;
  const managerEvents = async () => (await manager.api.get<Listed<Event>>('/events?lane=manager&limit=500')).items;
  const verification = (query = '') => manager.api.get<Verification>(`/audit/verification${query}`);

  before(async () => {
    manager = await startManager({ dataDir, isFirstStart: true });
    await manager.api.signIn('admin', ADMIN_PASSWORD);
    const settings = { heartbeatIntervalSeconds: 5, heartbeatGraceSeconds: 1 };
    const { items } = await manager.api.get<Listed<{ id: string }>>('/policies');
    const parentId = items[0]?.id;
    policyId = (await manager.api.post<{ id: string }>('/policies', { name: 'Quick', parentId, settings })).id;
    const wanted = { policyId, uses: 1, expiresInSeconds: 600 };
    const { token } = await manager.api.post<{ token: string }>('/enrollment-tokens', wanted);
    computerId = await enrollAgent(agentDir, { manager: manager.agentUrl, token, name: 'web1' });
    agent = startAgent(agentDir);
  });

  after(async () => {
    await agent?.kill('SIGKILL');
    await manager?.stop();
    removeDataDir(root);
  });

  it("keeps an agent's receipts with lateness, clock offset and latency", async () => {
    const receipts = await eventually('four receipts are stored', async () => {
      const items = await heartbeats();
      return items.length >= 4 ? items : undefined;
    });
    const instants = receipts.map(({ receivedAt }) => Date.parse(receivedAt));
    expect(instants).to.deep.equal([...instants].sort((a, b) => a - b));
    const last = receipts.at(-1);
    expect(last?.latenessMs).to.be.within(-1000, 2000);
    expect(last?.clockOffsetMs).to.be.within(-1000, 1000);
    expect(last?.latencyMs).to.be.within(0, 2000);
  });

  it('keeps a gap when the agent was away for longer than interval and grace', async () => {
    await agent.kill('SIGKILL');
    await eventually('the computer is late', async () => {
      const { status } = await manager.api.get<{ status: string }>(`/computers/${computerId}`);
      return status === 'late';
    });
    agent = startAgent(agentDir);
    const [gap] = await eventually('the gap is stored', async () => {
      const { items } = await manager.api.get<Listed<Gap>>(`/computers/${computerId}/gaps`);
      return items.length > 0 ? items : undefined;
    });
    expect(Date.parse(gap?.until ?? '') - Date.parse(gap?.from ?? '')).to.be.above(6000);
    const receipts = await eventually('the receipt after the gap is in the ring', async () => {
      const items = await heartbeats();
      return items.some(({ receivedAt }) => receivedAt === gap?.until) ? items : undefined;
    });
    expect(receipts.map(({ receivedAt }) => receivedAt)).to.include(gap?.from);
  });

  it('counts the lateness of each day and policy', async () => {
    const lateness = await eventually('lateness was flushed', async () => {
      const found = await manager.api.get<{ count: number; total: number[]; boundsMs: number[] }>(
        `/policies/${policyId}/lateness?days=2`,
      );
      return found.count >= 4 ? found : undefined;
    });
    expect(lateness.total).to.have.length(lateness.boundsMs.length + 1);
    expect((await manager.api.request('GET', `/policies/${policyId}/lateness?days=401`)).status).to.equal(400);
    expect((await manager.api.request('GET', `/policies/${computerId}/lateness`)).status).to.equal(404);
  });

  it('seals what was audited within a second or so, while it runs', async () => {
    const { items } = await manager.api.get<Listed<unknown>>('/audit?limit=500');
    const sound = await eventually(
      'every row is sealed',
      async () => {
        const found = await verification();
        return found.waiting === 0 && found.verified >= items.length ? found : undefined;
      },
      3000,
    );
    expect(sound.sound).to.equal(true);
    const answer = await runWardbeat(['audit', 'verify', '--checkpoint', sound.checkpoint ?? ''], env);
    expect(answer.code, answer.stderr).to.equal(0);
    expect(answer.stdout).to.include('is sound');
    const { body } = await manager.api.request('GET', '/audit/verification?checkpoint=nonsense');
    expect(body).to.include({ type: '/problems/request-invalid' });
    expect((await runWardbeat(['audit', 'verify', '--checkpoint', 'nonsense'], env)).code).to.equal(2);
  });

  it('tells of its own starts, stops, migrations and of the time it did not listen', async () => {
    await manager.stop();
    const checkpoints = [...manager.output().matchAll(/"checkpoint":"([0-9]+:[0-9a-f]{64})"/g)].map(([, text]) => text);
    expect(checkpoints.length).to.be.at.least(2);
    const atStop = checkpoints.at(-1) ?? '';
    const offline = await runWardbeat(['audit', 'verify', '--json', '--checkpoint', atStop], env);
    expect(offline.code, offline.stderr).to.equal(0);
    expect(JSON.parse(offline.stdout)).to.deep.include({
      fault: null,
      waiting: 0,
      checkpoint: atStop,
      warningCount: 0,
    });
    manager = await startManager({ dataDir });
    await manager.api.signIn('admin', ADMIN_PASSWORD);
    const kinds = await eventually('the second start is told', async () => {
      const found = (await managerEvents()).map(({ kind }) => kind);
      return found.filter((kind) => kind === 'manager-started').length === 2 ? found : undefined;
    });
    expect(kinds).to.include.members(['migration-applied', 'manager-stopped', 'listening-gap']);
    const gap = (await managerEvents()).find(({ kind }) => kind === 'listening-gap');
    expect(gap?.computerId).to.equal(null);
    expect(gap?.data).to.include({ cause: 'process-down' });
    expect((await verification(`?checkpoint=${atStop}`)).sound).to.equal(true);
  });

  it('names the first bad row after somebody with the rights of the owner changed it', async () => {
    const owner = new pg.Client({ ...readEmbeddedConnections(dataDir)?.ownerConnection });
    await owner.connect();
    const { rows } = await owner.query(
      `UPDATE audit_log SET actor_name = 'nobody'
       WHERE id = (SELECT audit_id FROM audit_seals WHERE number = 2) RETURNING id`,
    );
    await owner.end();
    const answer = await runWardbeat(['audit', 'verify'], env);
    expect(answer.code).to.equal(1);
    expect(answer.stderr).to.include(rows[0].id).and.include('row-changed');
    expect(await verification()).to.deep.include({ sound: false, verified: 1, waiting: null });
  });
});
