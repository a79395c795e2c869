import { expect } from 'chai';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { listAll } from '../support/event-ledger.js';
import { startFleetDrill, type FleetDrill } from '../support/fleet-drill.js';
import { alertsOf } from '../support/fleet-in-process.js';
import {
  keptPorts,
  makeDataDir,
  MANY_AGENTS,
  removeDataDir,
  startManager,
  type ManagerProcess,
} from '../support/manager-process.js';
import { eventually } from '../support/poll.js';

const AGENTS = Number(process.env['WARDBEAT_TEST_AGENTS'] ?? 60);
const SECONDS = 20;
/** The strictest settings: the first heartbeat that is missed raises the alert. */
const SETTINGS = { heartbeatIntervalSeconds: SECONDS, heartbeatsMissedAllowed: 0 };

interface System {
  readonly verdicts: { readonly state: string; readonly reason: string | null };
  readonly drain: Readonly<Record<'state' | 'since' | 'endsAt' | 'resumesAt', string | null>>;
  readonly deadman: Readonly<Record<string, unknown>>;
}

describe(`a manager that drains before its stop, with ${AGENTS} real agents (R24)`, function () {
  this.timeout(300_000);
  const root = makeDataDir();
  let receiver: Server;
  let pings: { readonly path: string | undefined; readonly at: number }[];
  let manager: ManagerProcess;
  let drill: FleetDrill;
  let env: Record<string, string>;

  before(async () => {
    pings = [];
    receiver = createServer((request, response) => {
      pings.push({ path: request.url, at: performance.now() });
      response.end('OK');
    });
    await new Promise<void>((resolve) => receiver.listen(0, '127.0.0.1', resolve));
    const { port } = receiver.address() as AddressInfo;
    env = {
      ...MANY_AGENTS,
      ...(await keptPorts()),
      WARDBEAT_DRAIN_SECONDS: String(SECONDS),
      WARDBEAT_DEADMAN_URL: `http://127.0.0.1:${port}/canary`,
    };
    manager = await startManager({ dataDir: join(root, 'manager'), env });
    drill = await startFleetDrill(manager, { root, agents: AGENTS, settings: SETTINGS, eventsPerBeat: 1 });
    await drill.allOnline(manager);
  });

  after(async () => {
    drill?.end();
    manager?.kill('SIGINT');
    await manager?.ended;
    receiver?.close();
    removeDataDir(root);
  });

  const system = () => drill.apiOf(manager).get<System>('/system');
  const readiness = async () => {
    const answer = await fetch(`${manager.adminUrl}/readyz`);
    const { notReady = [] } = (await answer.json()) as { notReady?: { name: string; reason: string }[] };
    return { status: answer.status, names: notReady.map(({ name }) => name), reasons: notReady };
  };
  const isReady = async () => (await readiness()).status === 200;

  it('pings while all is well, and shows of the URL its origin alone', async () => {
    await eventually('a ping was taken', async () => pings.length > 0 && (await system()).deadman['lastOkAt'], 60_000);
    expect(new Set(pings.map(({ path }) => path))).to.deep.equal(new Set(['/canary']));
    const { deadman } = await system();
    expect(deadman).to.include({ configured: true, lastError: null });
    const metrics = await (await fetch(`${manager.adminUrl}/metrics`)).text();
    expect(metrics).to.match(/wardbeat_deadman_pings_total\{result="ok"\} [1-9]/);
    expect(JSON.stringify(await system()) + metrics + manager.output()).not.to.contain('canary');
  });

  it('is drained by an administrator, and goes on when that ends', async () => {
    await eventually('the manager is ready', isReady);
    const drain = await manager.api.post<System['drain']>('/system/drain', { seconds: 900 });
    expect(drain).to.include({ state: 'draining' });
    expect(Date.parse(drain.endsAt ?? '') - Date.parse(drain.since ?? '')).to.equal(900_000);
    expect((await readiness()).names).to.include.members(['drain', 'verdicts']);
    expect((await system()).verdicts).to.include({ state: 'held', reason: 'draining' });
    for (const seconds of [0, 901, '5'])
      expect((await manager.api.request('POST', '/system/drain', { body: { seconds } })).status).to.equal(400);
    for (const _turn of [1, 2]) expect((await manager.api.request('DELETE', '/system/drain')).status).to.equal(204);
    await eventually('the manager is ready', isReady);
    expect((await system()).drain).to.include({ state: 'off', since: null });
    const { items } = await manager.api.get<{ items: { action: string; subjectId: string; after: unknown }[] }>(
      '/audit',
    );
    const audited = items.filter(({ action }) => action.startsWith('manager.drain'));
    expect(audited.map(({ action }) => action)).to.have.members(['manager.drain-begun', 'manager.drain-ended']);
  });

  it('after SIGTERM turns load balancers away at once, and stops when the time is over', async () => {
    await drill.allOnline(manager, Date.now());
    const begunAt = performance.now();
    manager.kill('SIGTERM');
    const { names } = await eventually('not ready', async () => {
      const seen = await readiness();
      return seen.status === 503 ? seen : undefined;
    });
    expect(names).to.include('drain');
    expect((await system()).drain).to.include({ state: 'stopping', resumesAt: null });
    for (const [method, body] of [
      ['POST', { seconds: 5 }],
      ['DELETE', undefined],
    ] as const) {
      const { status, body: problem } = await manager.api.request(method, '/system/drain', { body });
      expect([status, problem['type']]).to.deep.equal([409, '/problems/manager-stopping']);
    }
    expect(await manager.ended).to.equal(0);
    const tookMs = performance.now() - begunAt;
    expect(tookMs).to.be.within(SECONDS * 1000, SECONDS * 1000 + 15_000);
    expect(
      pings.filter(({ at }) => at > begunAt + 1000),
      'pings while it drained',
    ).to.deep.equal([]);
    expect(manager.output()).not.to.match(/"level":[56]0/);
  });

  it('gets its agents back one after the other, accuses none and loses nothing', async () => {
    const stoppedAt = Date.now();
    manager = await startManager({ dataDir: manager.dataDir, env });
    const backMs = Date.now() - stoppedAt;
    await drill.allOnline(manager, stoppedAt);
    const returns = await returnsSince(stoppedAt);
    const seconds = Array.from(
      { length: SECONDS + 10 },
      (_, second) => returns.filter((ms) => Math.floor(ms / 1000) === second).length,
    );
    console.error(
      JSON.stringify({ agents: AGENTS, backMs, firstMs: returns[0], lastMs: returns.at(-1), perSecond: seconds }),
    );
    expect(returns).to.have.length(AGENTS);
    expect((returns.at(-1) ?? 0) - (returns[0] ?? 0)).to.be.at.least(10_000);
    expect(Math.max(...seconds), 'in one second').to.be.at.most(AGENTS / 4);
    expect(await drill.look(manager)).to.deep.equal([]);
    // It was down for a few seconds, which is no time to tell of.
    expect(await alertsOf({ api: drill.apiOf(manager) })).to.deep.equal([]);
    expect(await drill.faultsOfEvents(manager)).to.deep.equal([]);
  });

  /** The first receipt of each computer after the instant, in ms since then, ascending. */
  async function returnsSince(instant: number): Promise<number[]> {
    const api = drill.apiOf(manager);
    const computers = await listAll<{ id: string }>(api, '/computers');
    const receipts = await Promise.all(
      computers.map(({ id }) =>
        eventually(`the receipt of ${id} is stored`, async () => {
          const seen = await listAll<{ receivedAt: string }>(api, `/computers/${id}/heartbeats`);
          const later = seen.map(({ receivedAt }) => Date.parse(receivedAt) - instant).filter((ms) => ms > 0);
          return later.length > 0 ? Math.min(...later) : undefined;
        }),
      ),
    );
    return receipts.toSorted((a, b) => a - b);
  }
});
