import { Problem } from '../../lib/problem.js';
import type { Random } from '../../lib/random.js';
import { toRfc3339 } from '../../lib/clock.js';
import type { Actor } from '../access/actor.js';
import type { Scope } from '../access/scope.js';
import type { Page } from '../admin-api/page.js';
import type { AuditLog } from '../audit/index.js';
import type { UnitOfWork } from '../database/in-transaction.js';
import { sqlOfManager, type Sql } from '../database/sql.js';
import type { Caller } from '../policies/forest-edit.js';
import type { FleetClock } from '../fleet-clock/fleet-clock.js';
import { findChannel, getChannel } from './channel-repository.js';
import { openSecrets } from './channel-service.js';
import type { DeliveriesQuery } from './delivery-dto.js';
import { toDeliveryFailure, type DeliveryFailure } from './delivery-failure.js';
import {
  getDelivery,
  listDeliveries,
  readAttempts,
  type LoggedAttempt,
  type LoggedDelivery,
} from './delivery-list-query.js';
import { requeueDelivery, wakeChannel } from './delivery-repository.js';
import { GIVEN_UP_AFTER_MS } from './enqueue-messages.js';
import type { Message } from './message.js';
import type { SecretBox } from './secret-box.js';
import type { Sender } from './sender.js';

export interface DeliveryServiceDeps {
  readonly fleetClock: Pick<FleetClock, 'fleet' | 'toWall' | 'monotonic'>;
  readonly random: Pick<Random, 'uuid'>;
  readonly inTransaction: UnitOfWork;
  /** Reads outside a transaction. */
  readonly sql: Sql;
  readonly audit: AuditLog;
  readonly box: SecretBox;
  readonly send: Sender;
}

/** How a test went; a failure tells no secret. */
export interface TestResult {
  readonly failure?: DeliveryFailure | undefined;
  /** It arrived, but not everywhere. */
  readonly refused?: DeliveryFailure | undefined;
  readonly durationMs: number;
}

export interface DeliveryService {
  list(scope: Scope, query: DeliveriesQuery): Promise<Page<LoggedDelivery>>;
  /** Throws `notification-delivery-not-found`. */
  get(
    scope: Scope,
    id: string,
  ): Promise<{ readonly delivery: LoggedDelivery; readonly history: readonly LoggedAttempt[] }>;
  /** Queues it anew under its id, whatever became of it. Throws `notification-delivery-not-found`, `notification-channel-not-found`. */
  resend(caller: Caller, id: string): Promise<LoggedDelivery>;
  /** Sends a test over a channel now. Throws `notification-channel-not-found`, `too-many-requests`. */
  test(channelId: string, actor: Actor): Promise<TestResult>;
}

const TESTS_AT_ONCE = 4;
const RETRY_SECONDS = 10;

export function createDeliveryService(deps: DeliveryServiceDeps): DeliveryService {
  let testing = 0;
  return {
    list: (scope, query) => listDeliveries(deps.sql, scope, query),
    async get(scope, id) {
      return { delivery: await getDelivery(deps.sql, scope, id), history: await readAttempts(deps.sql, id) };
    },
    resend: (caller, id) => deps.inTransaction((manager) => resend(deps, sqlOfManager(manager), { id, caller })),
    async test(channelId, actor) {
      const channel = await getChannel(deps.sql, channelId);
      if (testing >= TESTS_AT_ONCE) throw new Problem('too-many-requests', { retryAfterSeconds: RETRY_SECONDS });
      testing += 1;
      try {
        const begunAt = deps.fleetClock.monotonic();
        const tried = await attempt(deps, channel);
        const durationMs = Math.round(deps.fleetClock.monotonic() - begunAt);
        await noteTest(deps, { channelId, actor, ...tried });
        return { ...tried, durationMs };
      } finally {
        testing -= 1;
      }
    },
  };
}

async function attempt(
  { fleetClock, random, box, send }: DeliveryServiceDeps,
  channel: Awaited<ReturnType<typeof getChannel>>,
): Promise<Pick<TestResult, 'failure' | 'refused'>> {
  const timestamp = toRfc3339(fleetClock.toWall(fleetClock.fleet()));
  const message: Message = { id: random.uuid(), kind: 'test', timestamp, alerts: [], more: 0 };
  try {
    const secrets = openSecrets(box, channel);
    return { refused: await send({ typed: channel, secrets, message }, new AbortController().signal) };
  } catch (error) {
    return { failure: toDeliveryFailure(error) };
  }
}

interface Tested extends Pick<TestResult, 'failure' | 'refused'> {
  readonly channelId: string;
  readonly actor: Actor;
}

/** What waits for a channel that works is tried at once. */
function noteTest(
  { inTransaction, audit, fleetClock }: DeliveryServiceDeps,
  { channelId, actor, failure, refused }: Tested,
): Promise<void> {
  return inTransaction(async (manager) => {
    const sql = sqlOfManager(manager);
    if (!failure) await wakeChannel(sql, channelId, fleetClock.fleet());
    await audit.append(sql, {
      actor,
      action: 'notification-channel.tested',
      subjectType: 'notification-channel',
      subjectId: channelId,
      after: { delivered: failure === undefined, code: (failure ?? refused)?.code ?? null },
    });
  });
}

async function resend(
  { fleetClock, audit }: DeliveryServiceDeps,
  sql: Sql,
  { id, caller: { actor, scope } }: { id: string; caller: Caller },
): Promise<LoggedDelivery> {
  await sql.query('SELECT 1 FROM notification_deliveries WHERE id = $1 FOR UPDATE', [id]);
  const before = await getDelivery(sql, scope, id);
  if (!(await findChannel(sql, before.channelId)))
    throw new Problem('notification-channel-not-found', { detail: 'Its channel was deleted.' });
  const now = fleetClock.fleet();
  await requeueDelivery(sql, { id, now, expiresAt: now + GIVEN_UP_AFTER_MS });
  await audit.append(sql, {
    actor,
    action: 'notification-delivery.resent',
    subjectType: 'notification-delivery',
    subjectId: id,
    before: { state: before.state, attempts: before.attempts },
  });
  return getDelivery(sql, scope, id);
}
