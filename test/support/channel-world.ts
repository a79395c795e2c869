import pg from 'pg';
import { createLog } from '../../lib/log.js';
import { createSystemRandom } from '../../lib/random.js';
import { createHotTransaction } from '../../server/database/hot-transaction.js';
import { createPoolUnitOfWork } from '../../server/database/in-transaction.js';
import { sqlOfClient } from '../../server/database/sql.js';
import { composeChannels, type Channels } from '../../server/channels/index.js';
import { createSettingsCache } from '../../server/policies/cached-settings.js';
import type { DrainPeriod } from '../../server/system/drain.js';
import type { AgentChannelDeps } from '../../server/agent-channel/compose-agent-channel.js';
import { startAgentPort, type AgentPort, type ClientIdentity } from './agent-port.js';
import { openChannel, type ChannelClient, type ChannelClientOptions } from './channel-client.js';
import type { TestDatabase } from './database.js';
import { handClock, steadyReport, type HandClock } from './ingest-world.js';

/** Seconds of the channels pass so many times faster. */
const HASTE = 20;

interface ChannelRow {
  readonly listener: string;
  readonly state: string;
  readonly reason: string | null;
}

export interface ChannelWorld {
  readonly port: AgentPort;
  readonly channels: Channels;
  readonly clock: HandClock;
  period: DrainPeriod | undefined;
  load: number;
  open(identity: ClientIdentity, options?: ChannelClientOptions): Promise<ChannelClient>;
  /** Opens one and has its first report stored. */
  hold(identity: ClientIdentity, options?: ChannelClientOptions): Promise<ChannelClient>;
  /** A fresh report of any computer. */
  report(changes?: object): object;
  row(computerId: string): Promise<ChannelRow | undefined>;
  /** The channels of another process on the same database. */
  another(node: string): Promise<Channels>;
  refreshSettings(): Promise<void>;
  stop(): Promise<void>;
}

/** The agent port with held channels, whose ticks are fast. */
export async function startChannelWorld(
  database: TestDatabase,
  peers: Pick<AgentChannelDeps, 'limits' | 'timeouts'> = {},
): Promise<ChannelWorld> {
  const { pool, appConnection } = database;
  const base = handClock(Math.floor(Date.now() / 1000) * 1000);
  const clock: HandClock = { ...base, fleet: () => clock.now, sleep: (ms, signal) => base.sleep(ms / HASTE, signal) };
  const random = createSystemRandom();
  const settings = createSettingsCache({ sql: sqlOfClient(pool) });
  const inTransaction = createHotTransaction(createPoolUnitOfWork(pool, { clock: base, random }));
  const started: Channels[] = [];
  const compose = async (node: string): Promise<Channels> => {
    await pool.query(
      `INSERT INTO listeners (node, generation, started_fleet_ms, listened_until_fleet_ms) VALUES ($1, 1, 0, 0)
       ON CONFLICT (node) DO UPDATE SET generation = listeners.generation + 1`,
      [node],
    );
    const channels = composeChannels({
      fleetClock: clock,
      random,
      log: createLog({ name: 'test', level: 'silent' }),
      sql: sqlOfClient(pool),
      inTransaction,
      connect: async () => {
        const client = new pg.Client(appConnection);
        await client.connect();
        return client;
      },
      settings,
      node,
      drain: { period: () => world.period },
      load: () => world.load,
    });
    await channels.start();
    started.push(channels);
    return channels;
  };
  await settings.refresh();
  let sequence = 0;
  const world: ChannelWorld = {
    period: undefined,
    load: 0,
    clock,
    channels: {} as Channels,
    port: {} as AgentPort,
    open: async (identity, options) => openChannel(await world.port.openSocket(identity), options),
    async hold(identity, options) {
      const client = await world.open(identity, options);
      const answer = await client.ask(world.report());
      if (answer.type !== 'orders') throw new Error(`Answered ${JSON.stringify(answer)}`);
      return client;
    },
    report: (changes = {}) => ({ ...steadyReport(Date.now()), sequence: (sequence += 1), ...changes }),
    async row(computerId) {
      const { rows } = await pool.query<ChannelRow>(
        'SELECT listener, state, reason FROM channels WHERE computer_id = $1',
        [computerId],
      );
      return rows[0];
    },
    another: compose,
    refreshSettings: () => settings.refresh(),
    async stop() {
      for (const channels of started) await channels.stop();
      await world.port.stop();
    },
  };
  const channels = await compose('node-1');
  const port = await startAgentPort(pool, {}, { ...peers, channels });
  return Object.assign(world, { channels, port });
}
