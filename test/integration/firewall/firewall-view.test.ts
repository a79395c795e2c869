import { expect } from 'chai';
import { DEFAULT_SETTINGS, effectiveValues } from '../../../policies/resolve-settings.js';
import { Scope } from '../../../server/access/scope.js';
import { sqlOfClient } from '../../../server/database/sql.js';
import { findFirewall } from '../../../server/firewall/firewall-query.js';
import { viewFirewall } from '../../../server/firewall/firewall-view.js';
import { startCommandWorld, type CommandWorld } from '../../support/command-world.js';
import { useDatabase } from '../../support/database.js';

const SETTINGS = effectiveValues(DEFAULT_SETTINGS);

describe('the firewall of a computer as it is shown', () => {
  const database = useDatabase();
  let world: CommandWorld;
  let id: string;
  before(async () => {
    world = await startCommandWorld(database);
    [id = ''] = await world.addComputers(1);
  });

  const view = async () => {
    const row = await findFirewall(sqlOfClient(world.pool), Scope.all, id);
    return viewFirewall(row!, SETTINGS, String);
  };
  /** A report at the next second, which is answered. */
  const tell = async (isolatedBy?: string): Promise<string> => {
    world.clock.now += 1000;
    const { desired: digest } = (await view()).digest;
    await world.beat(id, {
      firewall: { state: 'applied', digest, ...(isolatedBy === undefined ? {} : { isolatedBy }) },
    });
    return String(world.clock.now);
  };
  const isolate = async (args: object) => (await world.queue(id, { type: 'isolate', args })).body.id;

  it('says of an isolated one that its rules do not count, since when, and what is allowed by the last command', async () => {
    await tell();
    expect(await view()).to.deep.include({ state: 'applied', isolated: null });
    const first = await isolate({});
    const since = await tell(first);
    expect(await view()).to.deep.include({
      state: 'isolated',
      isolated: { since, commandId: first, by: 'ada', allow: [] },
    });
    const allow = [{ ip: '10.0.0.5', ports: [22], protocol: 'TCP' }];
    const second = await isolate({ allow });
    await tell(second);
    expect(await view(), 'isolated twice').to.deep.include({
      state: 'isolated',
      isolated: { since, commandId: second, by: 'ada', allow },
    });
    await world.pool.query('DELETE FROM commands WHERE id = $1', [second]);
    expect((await view()).isolated, 'the command is forgotten').to.deep.equal({
      since,
      commandId: second,
      by: null,
      allow: null,
    });
    await tell();
    expect(await view()).to.deep.include({ state: 'applied', isolated: null });
    const third = await isolate({});
    const later = await tell(third);
    expect((await view()).isolated).to.include({ since: later, commandId: third });
  });
});
