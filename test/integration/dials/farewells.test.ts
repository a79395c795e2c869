import { expect } from 'chai';
import { sqlOfClient } from '../../../server/database/sql.js';
import { orderFarewell } from '../../../server/dials/index.js';
import { useDialWorld, type ComputerRows, type DialledComputer } from '../../support/dial-world.js';
import type { FakeListenerOptions } from '../../support/fake-agent-listener.js';
import { eventually } from '../../support/poll.js';

const UNUSED_PORT = 1;

describe('The manager says farewell to agents that only it dials', function () {
  this.timeout(60_000);
  const world = useDialWorld();
  const { database } = world;

  const query = async <T>(text: string, ...values: unknown[]) => (await database.pool.query(text, values)).rows as T[];
  const order = ({ id }: DialledComputer) =>
    orderFarewell(sqlOfClient(database.pool), {
      computerId: id,
      settingPort: UNUSED_PORT,
      at: Math.floor(world.clock.fleet()),
    });
  const rowOf = async ({ id }: DialledComputer) => {
    const [row] = await query<{ attempts: number; port: number; due_fleet_ms: number }>(
      'SELECT attempts, port, due_fleet_ms FROM farewells WHERE computer_id = $1',
      id,
    );
    return row;
  };
  const isSettled = (computer: DialledComputer) =>
    eventually('it is not to be told any more', async () => (await rowOf(computer)) === undefined);
  const hasten = ({ id }: DialledComputer) => query('UPDATE farewells SET due_fleet_ms = 0 WHERE computer_id = $1', id);
  const attemptedOf = (computer: DialledComputer, attempts: number) =>
    eventually(`${attempts} attempts are over`, async () => {
      const row = await rowOf(computer);
      const leftMs = (row?.due_fleet_ms ?? 0) - world.clock.fleet();
      // While one is under way, another process may take it over 15 s after its begin.
      return row?.attempts === attempts && (leftMs < 6000 || leftMs > 15_000);
    });

  /** As the administrator does it, in short. */
  const remove = async (computer: DialledComputer) => {
    await order(computer);
    for (const table of ['computer_contacts', 'computer_facts', 'computer_live', 'computer_status'])
      await query(`DELETE FROM ${table} WHERE computer_id = $1`, computer.id);
    await query('DELETE FROM computers WHERE id = $1', computer.id);
  };
  const revoke = async (computer: DialledComputer) => {
    await order(computer);
    await query(
      `UPDATE computer_status SET status = 'revoked', reason = 'revoked' WHERE computer_id = $1`,
      computer.id,
    );
  };
  const quiet = (rows: ComputerRows = {}, options: Partial<FakeListenerOptions> = {}) =>
    world.computer({ seenMsAgo: 0, dueInMs: 600_000, ...rows }, options);
  const told = ({ listener }: DialledComputer) => listener.calls.flatMap(({ problem }) => problem ?? []);

  it('tells who was removed and who was revoked, and stores nothing of what they report', async () => {
    const [removed, revoked] = [await quiet(), await quiet()];
    await world.dials().start();
    await remove(removed);
    await revoke(revoked);
    await isSettled(removed);
    await isSettled(revoked);
    expect(told(removed)).to.have.length(1);
    expect(told(removed)[0]).to.deep.include({ type: '/problems/computer-removed', status: 403 });
    expect(told(revoked)[0]).to.deep.include({ type: '/problems/computer-revoked', status: 403 });
    expect(world.exchanges).to.deep.equal([]);
    const [live] = await query<{ report_id: unknown }>(
      'SELECT report_id FROM computer_live WHERE computer_id = $1',
      revoked.id,
    );
    expect(live).to.deep.equal({ report_id: null });
    expect(await world.dialRow(revoked.id)).to.equal(undefined);
  });

  it('leaves alone those that dial by themselves', async () => {
    const both = await quiet({ direction: 'bidirectional' });
    const unknown = await quiet({ direction: null });
    const nowhere = await quiet({ observed: null });
    for (const computer of [both, unknown, nowhere]) {
      await order(computer);
      expect(await rowOf(computer)).to.equal(undefined);
    }
  });

  it('reaches one that is proving managerInitiated at the port of its candidate', async () => {
    const proving = await quiet({ direction: 'bidirectional', listenerState: 'closed' });
    await query(
      `UPDATE computer_contacts SET listener_port = NULL, candidate_direction = 'managerInitiated',
         candidate_state = 'proving', candidate_port = $2, candidate_since_fleet_ms = 0 WHERE computer_id = $1`,
      proving.id,
      proving.listener.port,
    );
    await world.dials().start();
    await remove(proving);
    await isSettled(proving);
    expect(told(proving)).to.have.length(1);
  });

  it('tries again until the agent is there, also after the manager was started anew', async () => {
    const web1 = await quiet({}, { mode: 'mute' });
    const first = world.dials({ totalMs: 500 });
    await first.start();
    await remove(web1);
    await attemptedOf(web1, 1);
    await hasten(web1);
    await attemptedOf(web1, 2);
    await first.stop();
    web1.listener.mode = 'good';
    await hasten(web1);
    await world.dials({ node: 'node-2' }).start();
    await isSettled(web1);
    expect(told(web1)).to.have.length(1);
  });

  it('ends with the sixth attempt that fails', async () => {
    const web1 = await quiet();
    await web1.listener.close();
    await remove(web1);
    await query('UPDATE farewells SET attempts = 4 WHERE computer_id = $1', web1.id);
    await world.dials().start();
    await attemptedOf(web1, 5);
    await hasten(web1);
    await isSettled(web1);
  });

  it('does not count a meeting with an exchange of the agent', async () => {
    const web1 = await quiet({}, { mode: 'busy' });
    const dials = world.dials();
    await remove(web1);
    await dials.start();
    await eventually('it was busy twice', () => web1.listener.calls.length >= 2);
    web1.listener.mode = 'good';
    expect((await rowOf(web1))?.attempts).to.be.lessThan(2);
    await isSettled(web1);
    expect(told(web1)).to.have.length(1);
  });

  it('dials nobody where the guard forbids it, and nobody while reports cannot be judged', async () => {
    const outside = await quiet({ address: '203.0.113.7:4118' });
    const web1 = await quiet();
    world.isDeaf = true;
    await world.dials().start();
    for (const computer of [outside, web1]) await remove(computer);
    await eventually(
      'the turn of both has passed',
      async () => world.clock.fleet() > (await rowOf(web1))!.due_fleet_ms + 2500,
    );
    expect(web1.listener.connections).to.deep.equal([]);
    world.isDeaf = false;
    await isSettled(web1);
    await attemptedOf(outside, 1);
  });

  it('is said once by two processes', async () => {
    const computers: DialledComputer[] = [];
    for (let count = 0; count < 6; count += 1) computers.push(await quiet());
    await world.dials().start();
    await world.dials({ node: 'node-2', isApart: true }).start();
    for (const computer of computers) await remove(computer);
    for (const computer of computers) await isSettled(computer);
    for (const computer of computers) expect(computer.listener.connections).to.have.length(1);
  });
});
