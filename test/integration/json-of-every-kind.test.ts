import { expect } from 'chai';
import { startAgentPort, type AgentPort, type ClientIdentity } from '../support/agent-port.js';
import { useDatabase } from '../support/database.js';
import { HOSTILE_VALUES, hostileBodies } from '../support/hostile-json.js';
import { addComputers, seedForest, steadyReport } from '../support/ingest-world.js';
import { startAdminWorld, type AdminWorld } from './admin-api/admin-world.js';

const ID = '7d2f6a52-3b6c-4d0e-9a59-2f0f5a1b2c3d';
const FREELY = { requestsPerSecond: 1e6, requestBurst: 1e6, eventsPerSecond: 1e6, eventBurst: 1e6 };

/** A body with `"@"` replaced by a JSON text that may be no text at all. */
function withValue(body: object, value: string | Buffer): Buffer {
  const [head = '', tail = ''] = JSON.stringify(body).split('"@"');
  return Buffer.concat([Buffer.from(head), Buffer.from(value as string), Buffer.from(tail)]);
}

/** The servers run in this very process, so that a polluted prototype would show here. */
describe('JSON of every kind (T6)', function () {
  this.timeout(60_000);
  const database = useDatabase();
  let agents: AgentPort;
  let admin: AdminWorld;
  let bearer: Record<string, string>;
  let web1: ClientIdentity;
  let sequence = 0;

  before(async () => {
    await seedForest(database.pool);
    agents = await startAgentPort(database.pool, { perAddressPerSecond: 1e6, totalPerSecond: 1e6 }, { limits: FREELY });
    admin = await startAdminWorld(database);
    bearer = await admin.bearer('administrator');
    const [id = ''] = await addComputers(database.pool, 1);
    web1 = agents.identityOf(id);
  });
  after(async () => {
    await agents.stop();
    await admin.close();
  });

  const report = (changes: object) => ({ ...steadyReport(Date.now()), sequence: (sequence += 1), ...changes });
  const digest = () => String(sequence % 10).repeat(64);
  const event = { sequence: 0, occurredAt: 0, kind: 'k', severity: 'info', message: 'm', data: '@' };
  const beat = async (body: Buffer) => (await agents.post('/agent/v1/heartbeat', body, { identity: web1 })).status;
  const doors: readonly (readonly [string, () => object, (body: Buffer) => Promise<number>])[] = [
    ['facts of a report', () => report({ facts: { free: '@' }, factsDigest: digest() }), beat],
    ['data of an event', () => report({ lanes: [{ lane: 'log', epoch: `e${sequence}`, events: [event] }] }), beat],
    ['a member of a report that nobody knows', () => report({ unknown: '@' }), beat],
    ['the sequence of a report', () => report({ sequence: '@' }), beat],
    ['the boot id of a report', () => report({ bootId: '@' }), beat],
    [
      'the name of an enrollment',
      () => ({ protocolVersion: 1, token: 'none', csr: 'none', name: '@', agentVersion: '1', platform: 'p' }),
      async (body) => (await agents.post('/agent/v1/enroll', body)).status,
    ],
    ['free data of an admin call', () => ({ a: '@' }), (body) => patch(body)],
    ['a member of an admin call', () => ({ name: '@', role: 'auditor' }), (body) => post(body)],
  ];
  const json = { 'content-type': 'application/json' };
  async function patch(body: Buffer): Promise<number> {
    const headers = { ...bearer, ...json, 'if-match': '"1"' };
    return (await admin.raw({ method: 'PATCH', path: `/api/v1/test-things/${ID}`, headers, body })).status;
  }
  async function post(body: Buffer): Promise<number> {
    return (await admin.raw({ method: 'POST', path: '/api/v1/api-keys', headers: { ...bearer, ...json }, body }))
      .status;
  }

  for (const [place, good, send] of doors)
    it(`as ${place} is stored or refused, and breaks nothing`, async () => {
      const bodies: Record<string, Buffer> = { ...hostileBodies(JSON.stringify(good())) };
      for (const [name, value] of Object.entries(HOSTILE_VALUES)) bodies[name] = withValue(good(), value);
      for (const [name, body] of Object.entries(bodies)) {
        const status = await send(body);
        expect(status, name).to.be.within(200, 499);
        expect(({} as { x?: unknown }).x, name).to.equal(undefined);
        expect(Object.keys(Object.prototype), name).to.deep.equal([]);
      }
      expect(agents.world.metrics.failed).to.equal(0);
    });

  it('leaves both ports serving', async () => {
    const { status } = await agents.post('/agent/v1/heartbeat', report({}), { identity: web1 });
    expect([status, await patch(Buffer.from('{}')), agents.world.deaf]).to.deep.equal([200, 200, []]);
  });
});
