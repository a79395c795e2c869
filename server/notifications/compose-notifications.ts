import type { Log } from '../../lib/log.js';
import type { Random } from '../../lib/random.js';
import type { RouteDefinition } from '../admin-api/route.js';
import type { AuditLog } from '../audit/index.js';
import type { HotTransaction } from '../database/hot-transaction.js';
import type { UnitOfWork } from '../database/in-transaction.js';
import type { Sql } from '../database/sql.js';
import { createNameResolver, type Lookup } from '../dials/index.js';
import type { FleetClock } from '../fleet-clock/fleet-clock.js';
import { createClaimedJob } from '../scheduler/claimed-job.js';
import type { Job } from '../scheduler/job.js';
import { channelRoutes, type ChannelRoutesDeps } from './channel-routes.js';
import { createChannelService } from './channel-service.js';
import { createDeliverer, type Deliverer } from './deliverer.js';
import { forgetDeliveries } from './delivery-repository.js';
import { deliveryRoutes } from './delivery-routes.js';
import { createDeliveryService, type DeliveryService } from './delivery-service.js';
import { createMessageReader } from './message-reader.js';
import type { Notifier } from './notice.js';
import { createNotifier } from './notifier.js';
import { createNotifyGuard, type NotifyGuardDeps } from './notify-guard.js';
import { routingRoutes } from './routing-routes.js';
import { createRoutingService, type RoutingService } from './routing-service.js';
import { createSecretBox } from './secret-box.js';
import { createSender } from './sender.js';

export interface NotificationsDeps {
  readonly fleetClock: FleetClock;
  readonly random: Random;
  readonly log: Log;
  /** Admin reads and writes. */
  readonly inTransaction: UnitOfWork;
  readonly inJobsTransaction: HotTransaction;
  /** Reads outside a transaction. */
  readonly sql: Sql;
  readonly audit: AuditLog;
  /** 32 bytes that the database never sees. */
  readonly key: Buffer;
  readonly node: string;
  readonly version: string;
  readonly adminOrigin: string | undefined;
  readonly allowedCidrs: readonly string[] | undefined;
  /** The manager's own, which is no receiver. */
  readonly database: NotifyGuardDeps['database'];
  /** Resolves names; the system's unless given. */
  readonly lookup?: Lookup;
  /** 30 s unless given. */
  readonly longestSendingMs?: number;
}

/** What `notificationRoutes` needs. */
export interface NotificationServices extends ChannelRoutesDeps {
  readonly routings: RoutingService;
  readonly deliveries: DeliveryService;
}

export interface Notifications extends NotificationServices {
  readonly notifier: Notifier;
  readonly deliverer: Deliverer;
  /** Of the role `jobs`. */
  readonly jobs: readonly Job[];
}

export const NOTIFICATIONS = 'notifications';
const DAY_MS = 86_400_000;
const DELIVERED_DAYS = 30;
const DEAD_DAYS = 90;

/** Channels, routes to them, and the outbox: whoever raises alerts hands notices to the `notifier`. */
export function composeNotifications(deps: NotificationsDeps): Notifications {
  const { fleetClock, random, log, sql, inTransaction, inJobsTransaction, node } = deps;
  const box = createSecretBox(deps.key, random);
  const { allowedCidrs: allowed, database, version } = deps;
  const checkTarget = createNotifyGuard({ allowed, database, resolve: createNameResolver(deps.lookup) });
  const send = createSender({ checkTarget, clock: fleetClock, node, version, longestSendingMs: deps.longestSendingMs });
  const shared = { clock: fleetClock, fleetClock, random, inTransaction, sql, audit: deps.audit, box, send };
  const deliverer = createDeliverer({
    ...shared,
    job: createClaimedJob({ name: NOTIFICATIONS, owner: node, inTransaction: inJobsTransaction, fleetClock }),
    inTransaction: inJobsTransaction,
    log,
    read: createMessageReader({ fleetClock, adminOrigin: deps.adminOrigin }),
  });
  return {
    notifier: createNotifier({ random, log }),
    deliverer,
    jobs: [
      { name: NOTIFICATIONS, cron: '* * * * * *', run: (signal) => deliverer.run(signal) },
      { name: 'notification-log', cron: '0 57 3 * * *', run: () => forgetOld(deps) },
    ],
    channels: createChannelService(shared),
    routings: createRoutingService(shared),
    deliveries: createDeliveryService(shared),
    fleetClock,
  };
}

function forgetOld({ fleetClock, inJobsTransaction }: NotificationsDeps): Promise<void> {
  const now = fleetClock.fleet();
  const deadBefore = now - DEAD_DAYS * DAY_MS;
  const deliveredBefore = now - DELIVERED_DAYS * DAY_MS;
  return inJobsTransaction((sql) =>
    forgetDeliveries(sql, { deliveredBefore, deadBefore, closedBefore: deliveredBefore }),
  );
}

/** The routes of the admin API below /api/v1/notification-…. */
export function notificationRoutes(services: NotificationServices): readonly RouteDefinition[] {
  return [...channelRoutes(services), ...routingRoutes(services), ...deliveryRoutes(services)];
}
