import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pg from 'pg';
import { openAuthority, type CertificateAuthority } from '../../certs/certificate-authority.js';
import { openManagerIdentity, type ManagerIdentity } from '../../certs/manager-identity.js';
import { createSystemClock } from '../../lib/clock.js';
import { createLog } from '../../lib/log.js';
import { createSystemRandom } from '../../lib/random.js';
import { createPeerLimits } from '../../server/agent-channel/peer-limits.js';
import { createHotTransaction } from '../../server/database/hot-transaction.js';
import { createPoolUnitOfWork } from '../../server/database/in-transaction.js';
import { sqlOfClient } from '../../server/database/sql.js';
import { composeDials, type Dials } from '../../server/dials/index.js';
import type { Exchange } from '../../server/heartbeats/exchange.js';
import { createDialRequestRelay } from '../../server/dials/dial-requests.js';
import { createHintRelay } from '../../server/heartbeats/hint-relay.js';
import type { DeafSpan } from '../../server/listening/listening.js';
import { issueIdentity } from './agent-port.js';
import { useDatabase, type TestDatabase } from './database.js';
import { startFakeListener, type FakeListener, type FakeListenerOptions } from './fake-agent-listener.js';
import { addComputers, createIngestWorld, handClock, seedForest, type IngestWorld } from './ingest-world.js';

export interface DialledComputer {
  readonly id: string;
  readonly listener: FakeListener;
}

/** What a computer's rows say of it when it is made. */
export interface ComputerRows {
  readonly direction?: string | null;
  readonly listenerState?: string;
  /** Milliseconds from now. */
  readonly dueInMs?: number;
  readonly seenMsAgo?: number | null;
  readonly intervalMs?: number;
  readonly observed?: string | null;
  readonly address?: string | null;
}

interface Opened {
  readonly dir: string;
  readonly authority: CertificateAuthority;
  readonly identity: ManagerIdentity;
  readonly ingest: IngestWorld;
}

const LIVE = { fleet: () => Date.now(), trustedTime: () => Date.now(), sleep: createSystemClock().sleep };
/** The dialler sleeps so long where nothing is due. */
const LONG_SLEEP_MS = 1000;

/** Called in a `describe`: gives its tests a world on a database of their own, where each begins without computers. */
export function useDialWorld(): DialWorld {
  // Hooks run in this order: the database is dropped last.
  after('close the world', () => world.close());
  const world = new DialWorld(useDatabase());
  before('open the world', () => world.open());
  afterEach('clear the world', () => world.clear());
  return world;
}

/** Processes that dial fake listeners over real TLS, with the real ingest path on a real database behind them. */
export class DialWorld {
  readonly clock = Object.assign(handClock(), LIVE);
  readonly hints = createHintRelay();
  readonly reconsidered: string[] = [];
  readonly exchanges: Exchange[] = [];
  readonly mismatches: object[] = [];
  isDeaf = false;
  readonly #random = createSystemRandom();
  readonly #log = createLog({ name: 'test', level: 'silent' });
  readonly database: TestDatabase;
  readonly #requests = createDialRequestRelay();
  readonly #spans: DeafSpan[] = [];
  readonly #closing: (() => Promise<unknown>)[] = [];
  #opened: Opened | undefined;

  constructor(database: TestDatabase) {
    this.database = database;
  }

  async open(): Promise<void> {
    const { pool } = this.database;
    await seedForest(pool);
    const dir = mkdtempSync(join(tmpdir(), 'wardbeat-dials-'));
    const where = { dir, clock: this.clock };
    const authority = await openAuthority({ ...where, trustDomain: 'test.wardbeat', random: this.#random });
    const identity = await openManagerIdentity({ ...where, authority, node: 'node-1', hosts: ['localhost'] });
    const ingest = createIngestWorld(pool, { clock: this.clock, hints: this.hints, dials: this.#requests });
    await ingest.settings.refresh();
    this.#opened = { dir, authority, identity, ingest };
  }

  get ingest(): IngestWorld {
    return this.#current().ingest;
  }

  get authority(): CertificateAuthority {
    return this.#current().authority;
  }

  get identity(): ManagerIdentity {
    return this.#current().identity;
  }

  #current(): Opened {
    if (!this.#opened) throw new Error('The world is not open');
    return this.#opened;
  }

  /** One process's dials, not started. */
  dials(options: { node?: string; connectMs?: number; totalMs?: number; isApart?: boolean } = {}): Dials {
    const { pool, appConnection } = this.database;
    const { node = 'node-1', connectMs = 3000, totalMs = 10_000, isApart = false } = options;
    const inTransaction = createHotTransaction(createPoolUnitOfWork(pool, { clock: this.clock, random: this.#random }));
    const { authority, identity, ingest } = this.#current();
    const dials = composeDials({
      authority,
      identity,
      fleetClock: this.clock,
      log: this.#log,
      sql: sqlOfClient(pool),
      inTransaction,
      connect: async () => {
        const client = new pg.Client(appConnection);
        await client.connect();
        return client;
      },
      settings: ingest.settings,
      limits: createPeerLimits({}, () => this.clock.monotonic()),
      verdicts: { reconsider: (ids) => void this.reconsidered.push(...ids) },
      spans: () => this.#spans,
      isDeaf: () => this.isDeaf,
      node,
      allowedCidrs: undefined,
      limitsMs: { connectMs, totalMs },
      submit: async (exchange) => {
        const orders = await ingest.batcher.submit(exchange);
        this.exchanges.push(exchange);
        return orders;
      },
      upload: () => Promise.reject(new Error('No file is awaited')),
      noteMismatch: async (mismatch) => void this.mismatches.push(mismatch),
    });
    if (!isApart) {
      this.hints.add(dials);
      this.#requests.connect(dials);
    }
    this.#closing.push(() => dials.stop());
    return dials;
  }

  /** A computer with its rows and its listener, which waits on loopback where the computer was observed. */
  async computer(rows: ComputerRows = {}, options: Partial<FakeListenerOptions> = {}): Promise<DialledComputer> {
    const [id = ''] = await addComputers(this.database.pool, 1);
    const listener = await this.listen(id, options);
    await this.rows(id, listener.port, rows);
    return { id, listener };
  }

  async listen(computerId: string, options: Partial<FakeListenerOptions> = {}): Promise<FakeListener> {
    const listener = await startFakeListener({
      computerId,
      identity: issueIdentity(this.authority, computerId),
      rootPem: this.authority.rootPem,
      now: () => Date.now(),
      ...options,
    });
    this.#closing.push(() => listener.close());
    return listener;
  }

  async rows(id: string, port: number, rows: ComputerRows): Promise<void> {
    const { pool } = this.database;
    const now = this.clock.fleet();
    const { direction = 'managerInitiated', listenerState = 'listening', dueInMs = 0 } = rows;
    const { seenMsAgo = 60_000, intervalMs = 60_000, observed = '127.0.0.1', address = null } = rows;
    await pool.query('UPDATE computers SET enrolled_fleet_ms = $2, address = $3 WHERE id = $1', [id, now, address]);
    await pool.query(
      `INSERT INTO computer_facts (computer_id, facts, agent_version, platform, protocol_version, capabilities,
         observed_address, carrier, updated_fleet_ms) VALUES ($1, '{}', '0.1.0', 'linux-x64', 1, '{}', $2, 'https', 0)`,
      [id, observed],
    );
    if (seenMsAgo !== null)
      await pool.query(
        `UPDATE computer_live SET last_seen_fleet_ms = $2, contact_due_fleet_ms = $3, confirmed_interval_ms = $4,
           applied_fingerprint = decode($5, 'hex') WHERE computer_id = $1`,
        [id, now - seenMsAgo, now + dueInMs, intervalMs, this.desired().fingerprint],
      );
    if (direction !== null)
      await pool.query(
        `INSERT INTO computer_contacts (computer_id, direction, direction_since_fleet_ms, listener_state, listener_port)
         VALUES ($1, $2, 0, $3, $4)`,
        [id, direction, listenerState, port],
      );
  }

  /** What a plain agent's settings are now. */
  desired() {
    const [policyId = ''] = this.ingest.settings.policies().keys();
    return this.ingest.settings.settingsOf({ kind: 'agent', policyId, overrides: null });
  }

  async dialRow(id: string) {
    const { rows } = await this.database.pool.query('SELECT * FROM computer_dials WHERE computer_id = $1', [id]);
    return rows[0] as
      | {
          last_result: string;
          last_detail: string | null;
          failures: number;
          last_begun_fleet_ms: number;
          last_ended_fleet_ms: number;
          failed_begun_fleet_ms: unknown[];
          failed_ended_fleet_ms: unknown[];
        }
      | undefined;
  }

  /** Exchanges of a computer that are stored. */
  heard(id: string): Exchange[] {
    return this.exchanges.filter(({ identity }) => identity.computerId === id);
  }

  /**
   * Stops the fleet clock until the test ends: nothing comes due any more, and who would sleep for a second is only ever
   * woken. Tells the instant, and whether somebody sleeps so.
   */
  standStill(): { readonly at: number; readonly isAsleep: () => boolean } {
    const at = Date.now();
    let sleepers = 0;
    const sleep: typeof LIVE.sleep = async (ms, signal) => {
      if (!signal || ms !== LONG_SLEEP_MS) return LIVE.sleep(ms, signal);
      sleepers += 1;
      await LIVE.sleep(Number.MAX_SAFE_INTEGER, signal).finally(() => (sleepers -= 1));
    };
    Object.assign(this.clock, { fleet: () => at, sleep });
    return { at, isAsleep: () => sleepers > 0 };
  }

  /** Ends processes and listeners, forgets the computers, and hears again. */
  async clear(): Promise<void> {
    this.isDeaf = false;
    for (const close of this.#closing.splice(0)) await close();
    Object.assign(this.clock, LIVE);
    this.exchanges.length = 0;
    this.reconsidered.length = 0;
    await this.database.pool.query(
      `DELETE FROM farewells; DELETE FROM computer_dials; DELETE FROM computer_contacts; DELETE FROM computer_facts; DELETE FROM computer_live;
       DELETE FROM computer_status; DELETE FROM computers;
       UPDATE dial_shards SET owner = NULL, generation = 0, lease_until_fleet_ms = 0`,
    );
  }

  async close(): Promise<void> {
    await this.clear();
    await this.ingest.batcher.drain();
    rmSync(this.#current().dir, { recursive: true, force: true });
  }
}
