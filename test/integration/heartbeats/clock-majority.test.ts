import { expect } from 'chai';
import type { Report } from '../../../protocol/heartbeat-messages.js';
import { useDatabase } from '../../support/database.js';
import {
  addComputers,
  changePolicy,
  createIngestWorld,
  seedForest,
  type IngestWorld,
} from '../../support/ingest-world.js';

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const COMPUTERS = 6;

/** Several computers without clock detection, each heard once a minute at an instant of its own. */
class Computers {
  readonly #previous = new Map<string, Report['previousExchange']>();
  readonly #sequences = new Map<string, number>();

  constructor(
    public world: IngestWorld,
    readonly ids: readonly string[],
  ) {}

  /** One minute, in which everybody is heard; `aheadOf` says by what each clock is ahead. */
  async minute(aheadOf: (n: number) => number, changes: Partial<Report> = {}): Promise<void> {
    const { clock } = this.world;
    const begin = clock.now;
    for (const [n, id] of this.ids.entries()) {
      clock.now = begin + Math.floor(((n + 1) * MINUTE) / this.ids.length);
      const sequence = (this.#sequences.get(id) ?? 0) + 1;
      const agentTime = clock.now + aheadOf(n);
      const previousExchange = this.#previous.get(id);
      const told = previousExchange ? { previousExchange } : {};
      await this.world.beat(id, { sequence, agentTime, capabilities: [], ...told, ...changes });
      this.#sequences.set(id, sequence);
      this.#previous.set(id, { sequence, sentAt: agentTime - 5, receivedAt: agentTime + 5 });
    }
  }
}

describe('clocks of several computers', () => {
  const database = useDatabase();
  let world: IngestWorld;
  let computers: Computers;

  before(async () => {
    await seedForest(database.pool);
  });
  beforeEach(async () => {
    // A process of its own.
    world = createIngestWorld(database.pool);
    computers = new Computers(world, await addComputers(database.pool, COMPUTERS));
  });

  const alerts = async (): Promise<string[]> => {
    const { rows } = await database.pool.query<{ computer_id: string; type: string; state: string }>(
      `SELECT computer_id, type, state FROM alerts WHERE computer_id = ANY($1::uuid[]) AND type LIKE 'clock-%'`,
      [computers.ids],
    );
    return rows.map((row) => `${computers.ids.indexOf(row.computer_id)} ${row.type} ${row.state}`).sort();
  };
  const minutes = async (count: number, aheadOf: (n: number) => number) => {
    for (let n = 0; n < count; n += 1) await computers.minute(aheadOf);
  };

  it('are not accused where the fleet clock itself lost ten minutes, as in a paused machine', async () => {
    await minutes(3, (n) => n);
    await minutes(5, (n) => 600_000 + n);
    expect(await alerts()).to.deep.equal([]);
    expect(world.doubts.map(({ kind }) => kind)).to.have.members(['stepped', 'beside']);
    expect(world.doubts.find(({ kind }) => kind === 'stepped')).to.include({ byMs: 600_000 });
    // Put right again.
    await minutes(4, (n) => n);
    expect(await alerts()).to.deep.equal([]);
  });

  it('are not accused by a manager that starts with a wrong clock', async () => {
    await minutes(3, (n) => n);
    world = createIngestWorld(database.pool, { clock: world.clock });
    computers.world = world;
    await minutes(5, (n) => -HOUR + n);
    expect(await alerts()).to.deep.equal([]);
    expect(world.doubts.map(({ kind }) => kind)).to.include('stepped');
  });

  it('are not accused by a manager whose clock drifts', async () => {
    await changePolicy(database.pool, { clockDriftLimitSeconds: 20 });
    for (let minute = 0; minute < 20; minute += 1) await computers.minute((n) => minute * 1500 + n);
    await changePolicy(database.pool, {});
    expect(await alerts()).to.deep.equal([]);
    expect(world.doubts.map(({ kind }) => kind)).to.deep.equal(['beside']);
  });

  it('are accused one by one where each is wrong by itself, or one alone', async () => {
    await minutes(3, () => 0);
    await minutes(4, (n) => (n === 2 ? 400_000 : 0));
    expect(await alerts()).to.deep.equal(['2 clock-changed raised']);
    await minutes(4, (n) => (n === 2 ? 400_000 : -n * 400_000));
    expect(await alerts()).to.deep.equal([0, 1, 2, 3, 4, 5].slice(1).map((n) => `${n} clock-changed raised`));
    expect(world.doubts).to.deep.equal([]);
  });

  it('are accused of what they are wrong by beside the manager', async () => {
    await minutes(3, () => 0);
    await minutes(4, (n) => (n === 4 ? 600_000 + HOUR : 600_000));
    expect(await alerts()).to.deep.equal(['4 clock-changed raised']);
  });
});
