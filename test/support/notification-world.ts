import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Writable } from 'node:stream';
import { pino } from 'pino';
import { createSystemClock } from '../../lib/clock.js';
import { escapeUnseen } from '../../lib/log.js';
import { createSystemRandom } from '../../lib/random.js';
import { createAlertWriter } from '../../server/alerts/alert-writer.js';
import { createHotTransaction } from '../../server/database/hot-transaction.js';
import { createPoolUnitOfWork, createUnitOfWork } from '../../server/database/in-transaction.js';
import { sqlOfClient } from '../../server/database/sql.js';
import { composeNotifications, notificationRoutes, type Notice } from '../../server/notifications/index.js';
import type { FleetClock } from '../../server/fleet-clock/fleet-clock.js';
import type { TestDatabase } from './database.js';
import { callerOf, createRecordingAudit } from './domain-world.js';
import { eventually } from './poll.js';
import { readReceiverTls, type ReceiverTls } from './receivers.js';
import { makeTlsFiles } from './tls-files.js';

/** The name in the receivers' certificates; it resolves to 127.0.0.1. */
export const RECEIVER_HOST = 'wardbeat.example';

export interface Delivery {
  readonly id: string;
  readonly kind: string;
  readonly state: string;
  readonly attempts: number;
  readonly lastError: string | null;
  readonly alertIds: readonly string[];
  readonly alertCount: number;
  readonly channelId: string;
  readonly dueAt: string | null;
  readonly endedAt: string | null;
}

/** The notifications of one manager over a real database, with a clock that a test moves forward. */
export type NotificationWorld = Awaited<ReturnType<typeof openNotificationWorld>>;

export interface WorldOptions {
  readonly allowedCidrs?: readonly string[] | undefined;
  readonly addresses?: Readonly<Record<string, () => readonly string[]>>;
}

export async function openNotificationWorld(database: TestDatabase, options: WorldOptions = {}) {
  const dir = mkdtempSync(join(tmpdir(), 'wardbeat-test-'));
  const tls: ReceiverTls = readReceiverTls(await makeTlsFiles(dir, 'receiver'));
  const clock = createMovableFleetClock();
  const random = createSystemRandom();
  const logged: string[] = [];
  const log = pino(
    { level: 'trace' },
    new Writable({ write: (chunk, _encoding, done) => (logged.push(escapeUnseen(String(chunk))), done()) }),
  );
  const audit = createRecordingAudit({ clock, random });
  const sql = sqlOfClient(database.pool);
  const addresses: Record<string, () => readonly string[]> = {
    [RECEIVER_HOST]: () => ['127.0.0.1'],
    ...options.addresses,
  };
  const deps = {
    fleetClock: clock,
    random,
    log,
    inTransaction: createUnitOfWork(database.dataSource, { clock, random }),
    inJobsTransaction: createHotTransaction(createPoolUnitOfWork(database.pool, { clock, random })),
    sql,
    audit,
    key: random.bytes(32),
    version: '1.2.3',
    adminOrigin: 'https://console.example',
    allowedCidrs: 'allowedCidrs' in options ? options.allowedCidrs : ['127.0.0.0/8'],
    database: { host: '127.0.0.1', port: 5 },
    lookup: async (host: string) => {
      const found = addresses[host]?.();
      if (!found) throw Object.assign(new Error('getaddrinfo ENOTFOUND'), { code: 'ENOTFOUND' });
      return found.map((address) => ({ address }));
    },
  };
  const manager = (node: string, more: { longestSendingMs?: number } = {}) =>
    composeNotifications({ ...deps, ...more, node });
  const notifications = manager('n1');
  const call = callerOf(notificationRoutes(notifications));
  const alerts = createAlertWriter({ random });
  const signal = new AbortController().signal;
  const begunAt = clock.fleet();
  let computersMade = 0;

  const world = {
    tls,
    clock,
    random,
    logged,
    audit,
    notifications,
    manager,
    call,
    deps,

    async clear(): Promise<void> {
      await database.pool.query(
        `DELETE FROM notification_deliveries; DELETE FROM notification_told; DELETE FROM notification_routes;
         DELETE FROM notification_channels; DELETE FROM jobs; DELETE FROM alerts; DELETE FROM alert_notices; DELETE FROM computers;
         DELETE FROM policies`,
      );
      logged.length = 0;
      audit.entries.length = 0;
    },

    async policy(name: string, parentId: string | null = null): Promise<string> {
      const id = random.uuid();
      await database.pool.query(
        `INSERT INTO policies (id, parent_id, name, description, settings, locks, revision, created_at, updated_at,
           verdict_rules_fleet_ms)
         VALUES ($1, $2, $3, '', '{}', '{}', 1, '2026-11-21T12:00:00Z', '2026-11-21T12:00:00Z', 0)`,
        [id, parentId, name],
      );
      return id;
    },

    async computer(
      name: string,
      { policyId, labels = {} }: { policyId?: string; labels?: Record<string, string> } = {},
    ): Promise<string> {
      computersMade += 1;
      const id = random.uuid();
      await database.pool.query(
        `INSERT INTO computers (id, name, kind, policy_id, labels, revision, verdict_rules_fleet_ms, created_fleet_ms)
         VALUES ($1, $2, 'agent', $3, $4, 1, 0, 0)`,
        [id, name, policyId ?? (await world.policy(`policy ${computersMade}`)), labels],
      );
      return id;
    },

    /** Raises an alert about a computer; answers its id. */
    async alert(type: string, computerId: string | null, facts: { subject?: string; reason?: string } = {}) {
      const { subject = computerId ?? 'fleet', reason = 'unknown' } = facts;
      await alerts.raise(sql, [{ type, subject, computerId, raisedAt: clock.fleet(), reason, detail: { a: 1 } }]);
      const { rows } = await database.pool.query('SELECT id FROM alerts WHERE type = $1 AND subject = $2', [
        type,
        subject,
      ]);
      return rows[0].id as string;
    },

    async tell(kind: Notice['kind'], ...alertIds: readonly string[]): Promise<void> {
      const notices = alertIds.map((alertId) => ({ alertId, kind, at: clock.fleet() }));
      await deps.inJobsTransaction((inside) => notifications.notifier.enqueue(inside, notices));
    },

    async channel(body: Record<string, unknown>) {
      const { body: made } = await call<{ id: string; signingSecret?: string }>('post', '/notification-channels', {
        body: { name: `channel ${random.uuid()}`, ...body },
      });
      return made;
    },

    async route(channelId: string, body: Record<string, unknown> = {}): Promise<string> {
      const { body: made } = await call<{ id: string }>('post', '/notification-routes', {
        body: { name: `route ${random.uuid()}`, channelId, ...body },
      });
      return made.id;
    },

    /** Sends what is due until nothing is, and waits for it. */
    async deliver(): Promise<void> {
      await notifications.deliverer.run(signal);
      await notifications.deliverer.idle();
    },

    async deliveries(query: Record<string, unknown> = {}): Promise<readonly Delivery[]> {
      const { body } = await call<{ items: Delivery[] }>('get', '/notification-deliveries', {
        query: { sort: 'createdAt', limit: 500, ...query },
      });
      return body.items;
    },

    async delivered(count: number): Promise<readonly Delivery[]> {
      return eventually(`${count} deliveries`, async () => {
        await world.deliver();
        const done = await world.deliveries({ state: 'delivered' });
        return done.length >= count ? done : undefined;
      });
    },

    elapsed: () => clock.fleet() - begunAt,

    async close(): Promise<void> {
      await notifications.deliverer.close();
      rmSync(dir, { recursive: true, force: true });
    },
  };
  return world;
}

/** Runs with the machine's clock and can be moved ahead; fleet instants are wall times. */
function createMovableFleetClock(): FleetClock & { advance(ms: number): void } {
  const system = createSystemClock();
  let offset = 0;
  const wall = () => Math.floor(system.wall()) + offset;
  return {
    wall,
    monotonic: () => system.monotonic() + offset,
    boot: () => system.boot() + offset,
    fleet: wall,
    toWall: (instant) => instant,
    toTrusted: (instant) => instant,
    trustedTime: wall,
    toFleet: (wallMs) => wallMs,
    sleep: (ms, signal) => system.sleep(ms, signal),
    advance: (ms) => void (offset += ms),
  };
}
