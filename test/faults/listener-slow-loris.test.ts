import { expect } from 'chai';
import { join } from 'node:path';
import { LISTENER_PATHS } from '../../protocol/protocol-version.js';
import { enrollAgent, startAgent, type RunningAgent } from '../support/agent-cli.js';
import { freePort } from '../support/free-port.js';
import {
  ADMIN_PASSWORD,
  makeDataDir,
  removeDataDir,
  startManager,
  type ManagerProcess,
} from '../support/manager-process.js';
import { eventually } from '../support/poll.js';
import { MORE_SLOW_KINDS, runSlowAttack, type SlowAttack, type SlowOutcome } from '../support/slow-clients.js';

const INTERVAL_MS = 5000;
/** How much later than the interval a heartbeat may be: the recording of one, and two busy cores. */
const SLACK_MS = 1500;
const ATTACKERS = 204;
const ATTACKED_MS = 40_000;
const CLOSED_WITHIN_MS = 15_000;

interface Receipt {
  readonly receivedAt: string;
  readonly latenessMs: number | null;
}

describe(`${ATTACKERS} slow clients at an agent's listener, which its manager dials every 5 s (R20, T17)`, function () {
  this.timeout(240_000);
  const root = makeDataDir();
  let manager: ManagerProcess;
  let agent: RunningAgent;
  let computerId: string;
  let port: number;

  before(async () => {
    port = await freePort();
    manager = await startManager({ dataDir: join(root, 'manager') });
    await manager.api.signIn('admin', ADMIN_PASSWORD);
    const { items } = await manager.api.get<{ items: { id: string }[] }>('/policies');
    const policyId = items[0]?.id ?? '';
    await manager.api.patch(`/policies/${policyId}/settings`, {
      heartbeatIntervalSeconds: INTERVAL_MS / 1000,
      heartbeatsMissedAllowed: 0,
      heartbeatGraceSeconds: 3,
      listenerPort: port,
      communicationDirection: 'managerInitiated',
    });
    const asked = { policyId, uses: 1, expiresInSeconds: 600 };
    const { token } = await manager.api.post<{ token: string }>('/enrollment-tokens', asked);
    computerId = await enrollAgent(join(root, 'agent'), { manager: manager.agentUrl, token, name: 'web1' });
    agent = startAgent(join(root, 'agent'));
    await eventually('the manager dials it', async () => {
      const shown = await manager.api.get(`/computers/${computerId}`);
      return shown['communicationDirection'] === 'managerInitiated' && shown['carrierInUse'] === 'listener';
    });
  });
  after(async () => {
    await agent?.kill('SIGKILL');
    await manager?.stop();
    removeDataDir(root);
  });

  const receiptsAfter = async (instant: number) => {
    const { items } = await manager.api.get<{ items: Receipt[] }>(`/computers/${computerId}/heartbeats?limit=100`);
    return items.filter(({ receivedAt }) => Date.parse(receivedAt) > instant).toReversed();
  };

  async function attackFor(ms: number, attack: SlowAttack): Promise<SlowOutcome[]> {
    const outcomes: SlowOutcome[] = [];
    const until = performance.now() + ms;
    while (performance.now() < until) outcomes.push(...(await runSlowAttack(attack)));
    return outcomes;
  }

  const attack = () => ({
    port,
    isTls: true,
    count: ATTACKERS / MORE_SLOW_KINDS.length,
    addresses: 50,
    path: LISTENER_PATHS.heartbeat,
    kinds: MORE_SLOW_KINDS,
  });
  const scenes: readonly (readonly [string, Partial<SlowAttack>])[] = [
    ['fifty addresses', {}],
    ["the manager's own address", { from: '127.0.0.1' }],
  ];
  for (const [name, change] of scenes)
    it(`keep the manager out by no heartbeat, coming from ${name}, and are let go`, async () => {
      const startedAt = Date.now();
      const outcomes = await attackFor(ATTACKED_MS, { ...attack(), ...change });
      const endedAt = Date.now();
      const receipts = await eventually('the heartbeats are listed', async () => {
        const listed = await receiptsAfter(startedAt);
        return Date.parse(listed.at(-1)?.receivedAt ?? '') >= endedAt ? listed : undefined;
      });
      const instants = [startedAt, ...receipts.map(({ receivedAt }) => Date.parse(receivedAt))];
      const gaps = instants.slice(1).map((at, index) => at - (instants[index] ?? at));
      const lateness = receipts.map(({ latenessMs }) => latenessMs ?? 0);
      console.error(
        JSON.stringify({
          name,
          heartbeats: receipts.length,
          longestGapMs: Math.max(...gaps),
          latestMs: Math.max(...lateness),
          outcomes,
        }),
      );
      expect(Math.max(...gaps), 'longest gap, ms').to.be.at.most(INTERVAL_MS + SLACK_MS);
      expect(Math.max(...lateness), 'latest, ms').to.be.at.most(SLACK_MS);
      const { items: alerts } = await manager.api.get<{ items: object[] }>(`/alerts?computerId=${computerId}`);
      expect(alerts).to.deep.equal([]);
      for (const { kind, left, longestMs } of outcomes) {
        expect(left, `${kind} clients are let go`).to.equal(0);
        expect(longestMs, `the longest of the ${kind} clients, ms`).to.be.at.most(CLOSED_WITHIN_MS);
      }
      expect(agent.process.exitCode).to.equal(null);
    });
});
