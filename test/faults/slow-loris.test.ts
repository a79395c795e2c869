import { expect } from 'chai';
import { execFileSync } from 'node:child_process';
import { setTimeout as delay } from 'node:timers/promises';
import { percentilesOf } from '../../scripts/bench/statistics.js';
import { AGENT_PATHS } from '../../protocol/protocol-version.js';
import { keepConnection, knock, requestBytes } from '../support/certificate-attacks.js';
import { agentTarget, enrollComputer, type EnrolledComputer } from '../support/enrolled-computer.js';
import {
  ADMIN_PASSWORD,
  makeDataDir,
  removeDataDir,
  startManager,
  type ManagerProcess,
} from '../support/manager-process.js';
import { runSlowAttack, SLOW_KINDS, type SlowAttack, type SlowOutcome } from '../support/slow-clients.js';

const AGENTS = 20;
const BEAT_EVERY_MS = 500;
const CLOSED_WITHIN_MS = 15_000;
/** Descriptors that the manager and the attacker need for anything else. */
const DESCRIPTORS_LEFT = 1000;

interface Beats {
  /** By those who keep their connection, and by those who make one for each heartbeat. */
  readonly kept: number[];
  readonly fresh: number[];
  readonly faults: string[];
}

describe('slow clients in their thousands, while agents heartbeat (R20, T17)', function () {
  this.timeout(240_000);
  const root = makeDataDir();
  const limit = Number(execFileSync('sh', ['-c', 'ulimit -n'], { encoding: 'utf8' }).replace('unlimited', '1000000'));
  const count = Math.max(1, Math.min(1000, Math.floor((limit - DESCRIPTORS_LEFT) / SLOW_KINDS.length)));
  let manager: ManagerProcess;
  const agents: EnrolledComputer[] = [];

  before(async () => {
    manager = await startManager({ dataDir: root });
    await manager.api.signIn('admin', ADMIN_PASSWORD);
    const { items } = await manager.api.get<{ items: { id: string }[] }>('/policies');
    const asked = { policyId: items[0]?.id, uses: AGENTS, expiresInSeconds: 600, ratePerSecond: 1000 };
    const { token } = await manager.api.post<{ token: string }>('/enrollment-tokens', asked);
    const target = await agentTarget(manager);
    for (let n = 1; n <= AGENTS; n += 1) agents.push(await enrollComputer(target, { token, name: `agent ${n}` }));
    console.error(JSON.stringify({ descriptors: limit, slowClientsOfEachKind: count }));
  });
  after(async () => {
    await manager?.stop();
    removeDataDir(root);
  });

  /** Every other agent keeps its connection, the others make one for each heartbeat. */
  async function beat(agent: EnrolledComputer, beats: Beats, isOver: () => boolean) {
    const index = agents.indexOf(agent);
    const port = Number(new URL(manager.agentUrl).port);
    const target = { port, version: 'TLSv1.3', identity: agent.identity } as const;
    const kept = index % 2 === 0 ? keepConnection(target) : undefined;
    while (!isOver()) {
      const bytes = requestBytes('POST', AGENT_PATHS.heartbeat, agent.report());
      const startedAt = performance.now();
      const outcome = kept ? await kept.ask(bytes) : (await knock({ ...target, bytes })).outcome;
      (kept ? beats.kept : beats.fresh).push(performance.now() - startedAt);
      if (outcome !== '200') beats.faults.push(`agent ${index}: ${outcome}`);
      await delay(BEAT_EVERY_MS);
    }
    kept?.end();
  }

  async function beatUntil(work: Promise<unknown>): Promise<Beats> {
    const beats: Beats = { kept: [], fresh: [], faults: [] };
    let isOver = false;
    const ended = work.finally(() => (isOver = true));
    await Promise.all([ended, ...agents.map((agent) => beat(agent, beats, () => isOver))]);
    return beats;
  }

  const told = ({ kept, fresh }: Beats) => ({
    beats: kept.length + fresh.length,
    p99Ms: percentilesOf([...kept, ...fresh]).p99Ms,
    keptP99Ms: percentilesOf(kept).p99Ms,
    freshP99Ms: percentilesOf(fresh).p99Ms,
  });

  async function endure(door: string, attack: SlowAttack): Promise<void> {
    const quiet = await beatUntil(delay(5000));
    let outcomes: SlowOutcome[] = [];
    const attacked = await beatUntil(runSlowAttack(attack).then((found) => (outcomes = found)));
    console.error(JSON.stringify({ door, quiet: told(quiet), attacked: told(attacked), attackers: outcomes }));
    expect([...quiet.faults, ...attacked.faults]).to.deep.equal([]);
    for (const { kind, left, longestMs, opened, refused } of outcomes) {
      expect(opened + refused, kind).to.equal(attack.count);
      expect(left, `${kind} clients are let go`).to.equal(0);
      expect(longestMs, `the longest of the ${kind} clients, ms`).to.be.at.most(CLOSED_WITHIN_MS);
    }
  }

  it('are all let go within 15 s by the agent port, and every heartbeat is answered', () =>
    endure('agent port', {
      port: Number(new URL(manager.agentUrl).port),
      isTls: true,
      count,
      addresses: 50,
      path: '/agent/v1/heartbeat',
    }));

  it('are all let go within 15 s by the admin port, and every heartbeat is answered', async () => {
    await endure('admin port', {
      port: Number(new URL(manager.adminUrl).port),
      isTls: false,
      count,
      addresses: 50,
      path: '/docs/swagger-ui.css',
    });
    expect(await manager.api.get('/policies')).to.have.property('items');
  });
});
