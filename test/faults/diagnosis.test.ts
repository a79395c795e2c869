import { expect } from 'chai';
import { DirectionWorld } from '../support/direction-world.js';
import { freePort } from '../support/free-port.js';
import { eventually } from '../support/poll.js';

interface Diagnosis {
  readonly status: string;
  readonly reason: string;
  readonly confidence: string;
  readonly hostUp: boolean | null;
  readonly evidence: readonly { readonly at: string; readonly source: string; readonly code: string }[];
  readonly advice: readonly string[];
}

describe('offline because', function () {
  this.timeout(180_000);
  let world: DirectionWorld;

  before(async () => (world = await DirectionWorld.start()));
  after(() => world?.end());

  const diagnosisOf = (id: string) => world.manager.api.get<Diagnosis>(`/computers/${id}/diagnosis`);
  const offline = async (id: string) => {
    await eventually('its alert is raised', () => world.hasAlert(id, 'computer-offline', 'raised'));
    return diagnosisOf(id);
  };
  const start = async (name: string) => {
    const policyId = await world.newPolicy(name, {
      heartbeatIntervalSeconds: 5,
      heartbeatsMissedAllowed: 1,
      heartbeatGraceSeconds: 2,
      listenerPort: await freePort(),
      communicationDirection: 'bidirectional',
    });
    const id = await world.enroll(policyId, name);
    const agent = world.run(name);
    await world.inForce('bidirectional', { id, name });
    await eventually('it listens', async () => (await world.computer(id)).listener?.port);
    return { id, agent };
  };

  it('kill -9 under bidirectional: refused, while the host is up', async () => {
    const { id, agent } = await start('killed');
    const online = await diagnosisOf(id);
    expect(online).to.deep.include({ status: 'online', reason: 'in-contact', confidence: 'high', hostUp: true });
    const alive = await world.manager.api.post<{ result: string; hostUp: boolean }>(`/computers/${id}/probe`, {});
    expect(alive).to.deep.include({ result: 'answered', hostUp: true });
    await agent.kill('SIGKILL');
    const shown = await offline(id);
    expect(shown).to.deep.include({ status: 'offline', reason: 'refused', hostUp: true });
    expect(['medium', 'high']).to.include(shown.confidence);
    expect(shown.evidence.map(({ source, code }) => `${source} ${code}`)).to.include('dial refused');
    expect(shown.advice.join(' ')).to.include('systemctl start wardbeat-agent');
    const [alert] = await world.alertsOf(id);
    expect(alert).to.deep.include({ reason: 'refused' });
    expect((alert as unknown as { detail: object }).detail).to.deep.include({ reason: 'refused', hostUp: true });
    const dead = await world.manager.api.post<{ result: string; hostUp: boolean }>(`/computers/${id}/probe`, {});
    expect(dead).to.deep.include({ result: 'refused', hostUp: true });
    expect((await diagnosisOf(id)).evidence[0]).to.deep.include({ source: 'probe', code: 'refused' });
  });

  it('SIGTERM: the agent said goodbye, and that explains it', async () => {
    const { id, agent } = await start('stopped');
    await agent.kill('SIGTERM');
    const shown = await offline(id);
    expect(shown).to.deep.include({ status: 'offline', reason: 'goodbye-shutdown', confidence: 'high' });
    expect(shown.evidence.map(({ source, code }) => `${source} ${code}`)).to.include('agent goodbye-shutdown');
  });
});
