import { expect } from 'chai';
import type { TLSSocket } from 'node:tls';
import { startAgentPort, type AgentPort, type ClientIdentity } from '../../support/agent-port.js';
import { useDatabase } from '../../support/database.js';
import { addComputers, seedForest, steadyReport } from '../../support/ingest-world.js';
import { eventually } from '../../support/poll.js';

const HEARTBEAT = '/agent/v1/heartbeat';
const LIMITS = {
  requestsPerSecond: 0.001,
  requestBurst: 5,
  eventsPerSecond: 0.001,
  eventBurst: 100,
  connectionsPerComputer: 3,
  connectionsPerAddress: 2,
};

describe('the limits of one computer on the agent port (T4)', function () {
  this.timeout(20_000);
  const database = useDatabase();
  let port: AgentPort;

  before(() => seedForest(database.pool));
  beforeEach(async () => {
    port = await startAgentPort(database.pool, {}, { limits: LIMITS });
  });
  afterEach(() => port.stop());

  async function computers(): Promise<{ id: string; identity: ClientIdentity }[]> {
    const ids = await addComputers(database.pool, 2);
    return ids.map((id) => ({ id, identity: port.identityOf(id) }));
  }
  let sequence = 0;
  const beat = async (identity: ClientIdentity, changes: object = {}) =>
    port.post(HEARTBEAT, { ...steadyReport(Date.now()), sequence: (sequence += 1), ...changes }, { identity });
  const laneOf = (count: number) => [
    {
      lane: 'log',
      epoch: 'e',
      events: Array.from({ length: count }, (_, n) => ({
        sequence: n,
        occurredAt: 0,
        kind: 'k',
        severity: 'info',
        message: `flood ${n}`,
      })),
    },
  ];

  it('answer 429 to the one who floods, over all its certificates, and to nobody else', async () => {
    const [rogue, web1] = await computers();
    for (let n = 0; n < LIMITS.requestBurst; n += 1) expect((await beat(rogue!.identity)).status).to.equal(200);
    const second = port.identityOf(rogue!.id);
    for (const identity of [rogue!.identity, second, rogue!.identity]) {
      const refused = await beat(identity);
      expect([refused.status, refused.body['type']]).to.deep.equal([429, '/problems/too-many-requests']);
      expect(Number(refused.headers['retry-after'])).to.be.within(1, 60);
    }
    const heard = await beat(web1!.identity);
    expect([heard.status, heard.body['effect']]).to.deep.equal([200, 'accepted']);
    expect(port.world.deaf).to.deep.equal([]);
    expect(port.world.metrics.throttled).to.equal(3);
  });

  it('answer 429 to too many events and still take its heartbeats without events', async () => {
    const [rogue, web1] = await computers();
    expect((await beat(rogue!.identity, { lanes: laneOf(150) })).status).to.equal(200);
    expect((await beat(rogue!.identity, { lanes: laneOf(1) })).status).to.equal(429);
    expect((await beat(rogue!.identity)).status).to.equal(200);
    expect((await beat(web1!.identity, { lanes: laneOf(50) })).status).to.equal(200);
  });

  it('refuse and close connections beyond the limit of a computer, and open them again when others end', async () => {
    const [rogue, web1] = await computers();
    const open: TLSSocket[] = [];
    for (let n = 0; n < LIMITS.connectionsPerComputer; n += 1) open.push(await port.openSocket(rogue!.identity));
    const refused = await port.raw(
      `POST ${HEARTBEAT} HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n`,
      rogue!.identity,
    );
    expect(refused).to.match(/^HTTP\/1\.1 429 /);
    expect(refused)
      .to.match(/^Retry-After: \d+\r$/m)
      .and.match(/^Connection: close\r$/m);
    expect((await beat(web1!.identity)).status).to.equal(200);
    for (const socket of open) socket.destroy();
    await eventually('the connections are forgotten', async () => (await beat(rogue!.identity)).status === 200);
    expect(port.world.deaf).to.deep.equal([]);
  });

  it('cut a hundred connections of one certificate down, while the others beat on', async () => {
    const [rogue, web1] = await computers();
    const sockets = await Promise.all(Array.from({ length: 100 }, () => port.openSocket(rogue!.identity)));
    for (const socket of sockets) socket.on('error', () => undefined).resume();
    const isOpen = (socket: TLSSocket) => !socket.destroyed && !socket.readableEnded;
    await eventually('most are closed', () => sockets.filter(isOpen).length <= 2 * LIMITS.connectionsPerComputer);
    expect((await beat(web1!.identity)).status).to.equal(200);
    for (const socket of sockets) socket.destroy();
  });

  it('bound the connections of an address that show no certificate, and no others', async () => {
    const [web1] = await computers();
    const open = [await port.openSocket(), await port.openSocket()];
    const refused = await port.raw('POST /agent/v1/enroll HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n');
    expect(refused).to.match(/^HTTP\/1\.1 429 /);
    expect((await beat(web1!.identity)).status).to.equal(200);
    for (const socket of open) socket.destroy();
  });
});
