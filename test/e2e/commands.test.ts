import { expect } from 'chai';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { runAgentCli, type RunningAgent } from '../support/agent-cli.js';
import { DirectionWorld } from '../support/direction-world.js';
import { freePort } from '../support/free-port.js';
import { eventually } from '../support/poll.js';

interface Shown {
  readonly id: string;
  readonly number: number;
  readonly state: string;
  readonly reason: string | null;
  readonly result: Record<string, unknown> | null;
  readonly delivery: { readonly how: string; readonly at: string | null } | null;
  readonly startedAt: string | null;
  readonly endedAt: string | null;
}

const STOPPED = 'The manager has stopped collection on this computer.';
const CANARIES = ['canary-hunter2', `wbk_${'c'.repeat(43)}`];
const ENDED = ['succeeded', 'failed', 'expired', 'cancelled'];

/** Whether a channel is held, the interval, and when a command is said to be delivered. */
const WAYS = [
  ['agentInitiated', 'perHeartbeat', 5, /^at the next heartbeat/],
  ['bidirectional', 'held', 600, /^held: now$/],
  ['managerInitiated', 'held', 600, /^dialled by the manager: now$/],
] as const;

for (const [direction, connectionMode, heartbeatIntervalSeconds, how] of WAYS)
  describe(`commands for an agent under ${direction}, ${connectionMode}`, function () {
    this.timeout(120_000);
    let world: DirectionWorld;
    let id: string;
    let agent: RunningAgent;
    /** By agents that started themselves again. */
    const started: number[] = [];

    before(async () => {
      world = await DirectionWorld.start();
      const policy = await world.newPolicy('Commanded', {
        heartbeatIntervalSeconds,
        listenerPort: await freePort(),
        communicationDirection: direction,
        connectionMode,
        componentsWatched: CANARIES.map((canary, index) => ({
          name: `canary-holder-${index}`,
          kind: 'process',
          match: `x password=${canary}`,
        })),
      });
      id = await world.enroll(policy, 'web1');
      agent = world.run('web1');
      await world.inForce(direction, { id, name: 'web1' });
      await eventually('it is online', async () => (await world.computer(id)).status === 'online');
    });
    after(async () => {
      for (const pid of started) process.kill(pid, 'SIGKILL');
      await world?.end();
    });

    const collection = async () => (await world.manager.api.get<{ collection: string }>(`/computers/${id}`)).collection;
    const queue = (body: object) => world.manager.api.post<Shown>(`/computers/${id}/commands`, body);
    const ended = (commandId: string) =>
      eventually('the command ends', async () => {
        const shown = await world.manager.api.get<Shown>(`/commands/${commandId}`);
        return ENDED.includes(shown.state) ? shown : undefined;
      });

    it('says when it is delivered, delivers it, and shows its result', async () => {
      const queued = await queue({ type: 'ping' });
      expect(queued.state).to.equal('queued');
      expect(queued.delivery?.how).to.match(how);
      const shown = await ended(queued.id);
      expect(shown).to.deep.include({ state: 'succeeded', reason: null, delivery: null });
      expect(shown.result).to.include.keys('version', 'roundTripMs');
      expect(Number(shown.result?.['roundTripMs'])).to.be.within(0, 5000);
    });

    it('answers what this version cannot do, and what was refused at the door', async () => {
      // The agents of tests keep their hands off the machine's packet filter.
      const [isolate, config] = [await queue({ type: 'isolate' }), await queue({ type: 'get-config' })];
      expect(await ended(isolate.id)).to.deep.include({ state: 'failed', reason: 'not-supported' });
      const { result } = await ended(config.id);
      expect(result?.['settings']).to.deep.include({ communicationDirection: direction });
    });

    it('keeps a command while the agent is away, and lists it once', async () => {
      await agent.kill('SIGKILL');
      const queued = await queue({ type: 'ping', idempotencyKey: 'away' });
      expect((await queue({ type: 'ping', idempotencyKey: 'away' })).id).to.equal(queued.id);
      agent = world.run('web1');
      expect(await ended(queued.id)).to.deep.include({ state: 'succeeded' });
    });

    it('stops collection over restarts, and never heartbeats', async () => {
      expect(await ended((await queue({ type: 'stop-collection' })).id)).to.deep.include({ state: 'succeeded' });
      await agent.kill('SIGKILL');
      agent = world.run('web1');
      await ended((await queue({ type: 'heartbeat-now' })).id);
      await eventually('it is shown', async () => (await collection()) === 'stopped');
      expect(await ended((await queue({ type: 'ping' })).id)).to.deep.include({ state: 'succeeded' });
      expect((await world.computer(id)).status).to.equal('online');
      const emit = [
        'emit',
        '--dir',
        world.directoryOf('web1'),
        '--kind',
        'log',
        '--severity',
        'info',
        '--message',
        'x',
      ];
      const refused = await runAgentCli(emit);
      expect([refused.code, refused.stderr]).to.deep.equal([4, `collection-stopped: ${STOPPED}\n`]);
      await ended((await queue({ type: 'start-collection' })).id);
      await eventually('it runs again', async () => (await collection()) === 'running');
      expect((await runAgentCli(emit)).code).to.equal(0);
    });

    it('brings diagnostics without any secret, and without events', async () => {
      const emit = ['emit', '--dir', world.directoryOf('web1'), '--kind', 'detection', '--severity', 'info'];
      expect((await runAgentCli([...emit, '--message', 'canary-of-an-event'])).code).to.equal(0);
      const queued = await queue({ type: 'collect-diagnostics' });
      const shown = await ended(queued.id);
      expect(shown, JSON.stringify(shown)).to.deep.include({ state: 'succeeded' });
      const text = JSON.stringify(await world.manager.api.get(`/commands/${queued.id}/file`));
      expect(text).to.not.include('canary-of-an-event');
      expect(text).to.include('"format":"wardbeat-diagnostics/1"').and.include('web1');
      const key = readFileSync(join(world.directoryOf('web1'), 'agent.key'), 'utf8').split('\n');
      for (const secret of [...key.filter((line) => line.length > 20 && !line.startsWith('-')), ...CANARIES])
        expect(text, secret.slice(0, 12)).to.not.include(secret);
      expect(text, 'what stood around them').to.include('canary-holder');
      const logs = await queue({ type: 'upload-logs', args: { lines: 10 } });
      expect((await ended(logs.id)).result).to.deep.include({ contentType: 'application/x-ndjson' });
    });

    it('renews its certificate, and the one before counts no more once the new one was used', async () => {
      interface Listed {
        readonly serial: string;
        readonly state: string;
        readonly renews: string | null;
        readonly revokedReason: string | null;
      }
      const certificate = async () =>
        (await world.manager.api.get<{ certificate: { serial: string } }>(`/computers/${id}`)).certificate.serial;
      const before = await certificate();
      const queued = await queue({ type: 'rotate-certificate' });
      const shown = await ended(queued.id);
      expect(shown, JSON.stringify(shown)).to.deep.include({ state: 'succeeded' });
      expect(shown.result).to.deep.include({ replaced: before, serial: await certificate() });
      const { items } = await world.manager.api.get<{ items: Listed[] }>(`/certificates?computerId=${id}`);
      const facts = items.map(({ serial, state, renews, revokedReason }) => [serial, state, renews, revokedReason]);
      expect(facts).to.have.deep.members([
        [before, 'revoked', null, 'superseded'],
        [shown.result?.['serial'], 'valid', before, null],
      ]);
      expect(await ended((await queue({ type: 'ping' })).id)).to.deep.include({ state: 'succeeded' });
      expect((await world.computer(id)).status).to.equal('online');
      // The components that hold canaries do not run.
      const types = (await world.alertsOf(id)).map(({ type }) => type);
      expect(types.filter((type) => type !== 'component-offline')).to.deep.equal([]);
      const forecast = await world.manager.api.get<{ computers: number; late: number; days: unknown[] }>(
        '/certificates/forecast?days=40',
      );
      expect(forecast).to.deep.include({ computers: 1, expired: 0, late: 0, unused: 0 });
      expect(forecast.days).to.have.length(40);
    });

    it('restarts the agent, which then tells that it did', async () => {
      const queued = await queue({ type: 'restart-agent' });
      const shown = await ended(queued.id);
      expect(shown).to.deep.include({ state: 'succeeded' });
      const pid = Number(shown.result?.['pid']);
      started.push(pid);
      expect(pid).to.not.equal(agent.process.pid);
      expect(agent.process.exitCode).to.equal(0);
      expect(await ended((await queue({ type: 'ping' })).id)).to.deep.include({ state: 'succeeded' });
    });
  });
