import { expect } from 'chai';
import type { Fleet } from '../../scripts/fleet.js';
import { listAll } from '../support/event-ledger.js';
import { rootPolicyOf, untilOnline } from '../support/fleet-in-process.js';
import { FleetWorld } from '../support/fleet-world.js';
import { makeDataDir, removeDataDir, type ManagerProcess } from '../support/manager-process.js';
import { eventually } from '../support/poll.js';

const AGENTS = 6;
const SETTINGS = { heartbeatIntervalSeconds: 5, heartbeatsMissedAllowed: 1, heartbeatGraceSeconds: 5 };

interface SeenAlert {
  readonly id: string;
  readonly type: string;
  readonly state: string;
  readonly computerName: string | null;
  readonly incidentId: string | null;
  readonly detail: Readonly<Record<string, unknown>>;
}

/** Real processes: the site is known by a label, since all of this machine's agents share an address. */
describe('a site that is cut off', function () {
  this.timeout(240_000);
  const root = makeDataDir();
  let world: FleetWorld;
  let manager: ManagerProcess;

  const site = async (name: string): Promise<Fleet> => {
    const policyId = await rootPolicyOf(manager);
    const asked = { policyId, uses: 100, expiresInSeconds: 3600, ratePerSecond: 100, labels: { site: name } };
    const { token } = await manager.api.post<{ token: string }>('/enrollment-tokens', asked);
    return world.join(name, AGENTS, { token });
  };

  before(async () => {
    world = await FleetWorld.start({ root, settings: SETTINGS });
    manager = world.manager;
  });

  after(async () => {
    await world?.end();
    removeDataDir(root);
  });

  const outages = async () =>
    (await listAll<SeenAlert>(manager.api, '/alerts')).filter(({ type }) => type === 'mass-outage');

  it('is one incident that names it and holds its alerts, and ends when it is back', async () => {
    const berlin = await site('berlin');
    await site('lyon');
    await untilOnline(manager, 2 * AGENTS);
    await Promise.all(berlin.agents.map((agent) => agent.kill()));
    const children = (incidentId: string) =>
      manager.api.get<{ items: SeenAlert[] }>(`/alerts?incidentId=${incidentId}&state=raised`);
    const incident = await eventually(
      'an incident that holds all alerts',
      async () => {
        const [found] = await outages();
        return found && (await children(found.id)).items.length === AGENTS ? found : undefined;
      },
      90_000,
    );
    const { detail } = incident;
    expect(detail).to.include({ factor: 'label', value: 'site=berlin', of: AGENTS, silent: AGENTS });
    expect(detail['sample']).to.have.members(berlin.agents.map(({ name }) => name));
    expect(incident.state).to.equal('raised');

    await Promise.all(berlin.agents.map((agent) => agent.start()));
    await eventually('it is over', async () => (await outages())[0]?.state === 'resolved', 60_000);
    expect(await outages()).to.have.length(1);
  });
});
