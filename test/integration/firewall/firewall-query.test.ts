import { expect } from 'chai';
import { sqlOfClient } from '../../../server/database/sql.js';
import { endCommandsOf } from '../../../server/agent-commands/index.js';
import { findIsolation } from '../../../server/firewall/firewall-query.js';
import { startCommandWorld, type CommandWorld } from '../../support/command-world.js';
import { useDatabase } from '../../support/database.js';

const DAY_MS = 86_400_000;

describe('the isolation that a release code may end', () => {
  const database = useDatabase();
  let world: CommandWorld;
  let ids: readonly string[];
  before(async () => {
    world = await startCommandWorld(database);
    ids = await world.addComputers(3);
  });

  const found = (id: string) => findIsolation(sqlOfClient(world.pool), id);
  const isolate = async (id: string) => (await world.queue(id, { type: 'isolate' })).body.id;

  it('is the one that was delivered and of which nothing was heard, also when that was given up', async () => {
    const [id = ''] = ids;
    const commandId = await isolate(id);
    expect(await found(id), 'queued').to.equal(undefined);
    await world.beat(id);
    expect(await found(id), 'delivered').to.equal(commandId);
    world.clock.now += 9 * DAY_MS;
    await world.runJob();
    expect(await world.get(commandId)).to.deep.include({ state: 'expired', reason: 'no-result' });
    expect(await found(id), 'given up').to.equal(commandId);
    world.clock.now += 1000;
    await world.beat(id);
    expect(await found(id), 'the agent is back and says itself').to.equal(undefined);
  });

  it('is the one of a computer that was revoked meanwhile', async () => {
    const [, id = ''] = ids;
    const commandId = await isolate(id);
    await world.beat(id);
    world.clock.now += 1000;
    await endCommandsOf(sqlOfClient(world.pool), id, { reason: 'computer-revoked', at: world.clock.now });
    expect(await found(id)).to.equal(commandId);
  });

  it('is none that never reached the agent, or that failed there', async () => {
    const [, , id = ''] = ids;
    const commandId = await isolate(id);
    world.clock.now += 9 * DAY_MS;
    await world.runJob();
    expect((await world.get(commandId)).reason).to.equal('not-delivered');
    expect(await found(id)).to.equal(undefined);
    const failing = await isolate(id);
    await world.beat(id);
    await world.beat(id, { commandResults: [{ id: failing, state: 'failed', reason: 'firewall-failed' }] });
    expect(await found(id)).to.equal(undefined);
  });
});
