import { createServer, type Server } from 'node:net';
import { expect } from 'chai';
import { problemOf } from '../../support/domain-world.js';
import { useDialWorld } from '../../support/dial-world.js';
import { eventually } from '../../support/poll.js';

describe('Probing a computer', function () {
  this.timeout(60_000);
  const world = useDialWorld();
  const { database } = world;

  it('lets the listener prove who it is, says nothing and stores nothing', async () => {
    const { id, listener } = await world.computer({ direction: 'bidirectional' });
    expect(await world.dials().probe(id)).to.deep.equal({ result: 'answered', detail: null, hostUp: true });
    expect(listener.connections).to.have.length(1);
    expect([listener.calls, listener.heardBytes, world.exchanges]).to.deep.equal([[], 0, []]);
    expect(await world.dialRow(id)).to.equal(undefined);
    await eventually('it hung up', () => listener.connections[0]?.closedAt !== null);
  });

  it('tells that the machine is up where nobody listens, and writes no dial of it', async () => {
    const { id, listener } = await world.computer({ direction: 'agentInitiated' });
    await listener.close();
    const { result, hostUp } = await world.dials().probe(id);
    expect([result, hostUp, await world.dialRow(id)]).to.deep.equal(['refused', true, undefined]);
  });

  it('tells that the machine is up where its agent hangs', async () => {
    const silent = await new Promise<Server>((resolve) => {
      const server: Server = createServer(() => undefined).listen(0, '127.0.0.1', () => resolve(server));
    });
    const sockets = new Set<{ destroy(): void }>();
    silent.on('connection', (socket) => void sockets.add(socket));
    const { id } = await world.computer({ direction: 'bidirectional' });
    const { port } = silent.address() as { port: number };
    await database.pool.query('UPDATE computer_contacts SET listener_port = $2 WHERE computer_id = $1', [id, port]);
    const { result, hostUp } = await world.dials({ connectMs: 200 }).probe(id);
    for (const socket of sockets) socket.destroy();
    silent.close();
    expect([result, hostUp]).to.deep.equal(['timeout', true]);
  });

  it('connects only where the guard lets it, and says so', async () => {
    const { id } = await world.computer({ observed: '8.8.8.8' });
    expect(await world.dials().probe(id)).to.deep.include({ result: 'address-refused', hostUp: null });
    const other = await world.computer({ observed: null });
    expect(await world.dials().probe(other.id)).to.deep.include({ result: 'no-address', hostUp: null });
  });

  it('takes another computer there for nothing', async () => {
    const [web, db] = [await world.computer({}), await world.computer({})];
    await database.pool.query('UPDATE computer_contacts SET listener_port = $2 WHERE computer_id = $1', [
      web.id,
      db.listener.port,
    ]);
    expect(await world.dials().probe(web.id)).to.deep.include({ result: 'tls-other-computer', hostUp: null });
  });

  it('opens one connection for all who ask at once, and few at a time', async () => {
    const dials = world.dials();
    const { id, listener } = await world.computer({});
    const [first, second] = await Promise.all([dials.probe(id), dials.probe(id)]);
    expect([first.result, second.result, listener.connections.length]).to.deep.equal(['answered', 'answered', 1]);
    const many = await Promise.all(Array.from({ length: 11 }, () => world.computer({})));
    const outcomes = await Promise.allSettled(many.map((one) => dials.probe(one.id)));
    expect(outcomes.filter(({ status }) => status === 'rejected')).to.have.length(1);
    const refused = outcomes.find((one) => one.status === 'rejected');
    expect((await problemOf(Promise.reject(refused?.reason as Error))).code).to.equal('too-many-requests');
  });

  it('knows no computer that is gone', async () => {
    expect((await problemOf(world.dials().probe('7d2f6a52-3b6c-4d0e-9a59-2f0f5a1b2c3d'))).code).to.equal(
      'computer-not-found',
    );
  });

  it('is what a dial that fails stores too: whether the machine answered', async () => {
    const dead = await world.computer({ direction: 'managerInitiated' });
    await dead.listener.close();
    await world.dials().start();
    const row = await eventually('a dial failed', async () => world.dialRow(dead.id));
    expect(row).to.deep.include({ last_result: 'refused', last_host_up: true });
  });
});
