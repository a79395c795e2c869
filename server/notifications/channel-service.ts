import { Problem, type FieldError } from '../../lib/problem.js';
import type { Clock } from '../../lib/clock.js';
import type { Random } from '../../lib/random.js';
import type { Actor } from '../access/actor.js';
import type { Page, PageQuery } from '../admin-api/page.js';
import type { AuditLog } from '../audit/index.js';
import type { UnitOfWork } from '../database/in-transaction.js';
import { sqlOfManager, type Sql } from '../database/sql.js';
import type { FleetClock, FleetInstant } from '../fleet-clock/fleet-clock.js';
import {
  findChannel,
  getChannel,
  insertChannel,
  listChannels,
  lockChannel,
  removeChannel,
  saveChannel,
} from './channel-repository.js';
import {
  changeChannel,
  foreignFaults,
  settleChannel,
  targetOf,
  type ChannelMembers,
  type SettledChannel,
} from './channel-rules.js';
import type { Channel, ChannelSecrets, ChannelType, TypedSettings } from './channel.js';
import { CHANNEL_REMOVED } from './delivery-failure.js';
import { giveUpDeliveries } from './delivery-repository.js';
import { routesOfChannel } from './routing-repository.js';
import type { SecretBox } from './secret-box.js';
import { SIGNING_SECRET_BYTES, toSigningSecret } from './webhook-rules.js';

export interface ChannelServiceDeps {
  readonly clock: Pick<Clock, 'wall'> & Pick<FleetClock, 'fleet'>;
  readonly random: Random;
  readonly inTransaction: UnitOfWork;
  /** Reads outside a transaction. */
  readonly sql: Sql;
  readonly audit: AuditLog;
  readonly box: SecretBox;
}

export interface NewChannel {
  readonly name: string;
  readonly type: ChannelType;
  readonly members: ChannelMembers;
}

export interface ChannelChange {
  readonly id: string;
  readonly revision: number | undefined;
  readonly name: string | undefined;
  readonly members: ChannelMembers;
}

export interface ChannelService {
  list(query: PageQuery): Promise<Page<Channel>>;
  /** Throws `notification-channel-not-found`. */
  get(id: string): Promise<Channel>;
  /** The signing secret of a webhook is answered this once. Throws `name-taken`, `request-invalid`. */
  create(
    channel: NewChannel,
    actor: Actor,
  ): Promise<{ readonly channel: Channel; readonly signingSecret: string | undefined }>;
  /** What a change says that the stored channel's type has not; nothing for an unknown channel. */
  changeFaults(id: string, members: ChannelMembers): Promise<readonly FieldError[]>;
  /** Throws `notification-channel-not-found`, `revision-stale`, `name-taken`, `request-invalid`. */
  change(change: ChannelChange, actor: Actor): Promise<Channel>;
  /** Messages are signed with both secrets for a day. Throws `notification-channel-unsigned` for what signs nothing. */
  rotate(id: string, actor: Actor): Promise<{ readonly signingSecret: string; readonly previousUntil: FleetInstant }>;
  /** Gives up what waits for it. Throws `in-use` while a route leads to it. */
  remove(id: string, actor: Actor): Promise<void>;
}

const ROTATION_MS = 86_400_000;
const ROUTES_NAMED = 20;

export function createChannelService(deps: ChannelServiceDeps): ChannelService {
  return {
    list: (query) => listChannels(deps.sql, query),
    get: (id) => getChannel(deps.sql, id),
    create: (channel, actor) => createChannel(deps, channel, actor),
    async changeFaults(id, members) {
      const channel = await findChannel(deps.sql, id);
      return channel ? foreignFaults(channel.type, members) : [];
    },
    change: (change, actor) =>
      deps.inTransaction((manager) => changeStored(deps, sqlOfManager(manager), { change, actor })),
    rotate: (id, actor) => deps.inTransaction((manager) => rotateSecret(deps, sqlOfManager(manager), { id, actor })),
    remove: (id, actor) => deps.inTransaction((manager) => removeStored(deps, sqlOfManager(manager), { id, actor })),
  };
}

/** What a channel's secrets are sealed for. */
export function labelOf(channelId: string): string {
  return `notification-channel/${channelId}`;
}

/** Throws `DeliveryFailure` `secrets-unreadable`. */
export function openSecrets(box: SecretBox, { id, secrets }: Pick<Channel, 'id' | 'secrets'>): ChannelSecrets {
  return box.open(labelOf(id), secrets) as ChannelSecrets;
}

async function createChannel(deps: ChannelServiceDeps, { name, type, members }: NewChannel, actor: Actor) {
  const { typed, secrets } = settleChannel(type, members);
  const signingSecret = type === 'webhook' ? toSigningSecret(deps.random.bytes(SIGNING_SECRET_BYTES)) : undefined;
  const id = deps.random.uuid();
  const at = new Date(deps.clock.wall());
  const sealed = deps.box.seal(labelOf(id), { ...secrets, ...(signingSecret === undefined ? {} : { signingSecret }) });
  const channel: Channel = {
    ...typed,
    id,
    name,
    revision: 1,
    createdAt: at,
    createdBy: actor.name,
    updatedAt: at,
    deliveredAt: null,
    failedAt: null,
    lastError: null,
    secrets: sealed,
  };
  await deps.inTransaction(async (manager) => {
    const sql = sqlOfManager(manager);
    await insertChannel(sql, channel);
    await audit(deps, sql, { actor, action: 'created', id, after: audited(channel) });
  });
  return { channel, signingSecret };
}

interface Act {
  readonly actor: Actor;
  readonly action: 'created' | 'changed' | 'deleted' | 'secret-rotated';
  readonly id: string;
  readonly before?: object;
  readonly after?: object;
}

async function audit({ audit: log }: ChannelServiceDeps, sql: Sql, { action, id, ...facts }: Act): Promise<void> {
  await log.append(sql, {
    ...facts,
    action: `notification-channel.${action}`,
    subjectType: 'notification-channel',
    subjectId: id,
  });
}

function audited(channel: TypedSettings & { readonly name: string }): object {
  const { name, type, settings } = channel;
  return { name, type, target: targetOf(channel), settings };
}

async function changeStored(
  deps: ChannelServiceDeps,
  sql: Sql,
  { change, actor }: { change: ChannelChange; actor: Actor },
): Promise<Channel> {
  const before = await lockChannel(sql, change.id);
  if (change.revision !== undefined && change.revision !== before.revision) throw new Problem('revision-stale');
  const known: SettledChannel = { typed: before, secrets: readable(deps.box, before, change.members) };
  const { typed, secrets } = changeChannel(known, change.members);
  const after: Channel = {
    ...before,
    ...typed,
    name: change.name ?? before.name,
    revision: before.revision + 1,
    updatedAt: new Date(deps.clock.wall()),
    secrets: deps.box.seal(labelOf(before.id), secrets),
  };
  await saveChannel(sql, after);
  const renewed = (['password', 'url'] as const).filter((member) => change.members[member] !== undefined);
  const facts = { before: audited(before), after: { ...audited(after), renewed } };
  await audit(deps, sql, { actor, action: 'changed', id: before.id, ...facts });
  return after;
}

/** Secrets that cannot be opened any more are lost: whoever gives them anew mends the channel. */
function readable(box: SecretBox, channel: Channel, members: ChannelMembers): ChannelSecrets {
  try {
    return openSecrets(box, channel);
  } catch (error) {
    if (members.password === undefined && members.url === undefined)
      throw new Problem('notification-secrets-unreadable', {}, error);
    return {};
  }
}

async function rotateSecret(
  deps: ChannelServiceDeps,
  sql: Sql,
  { id, actor }: { id: string; actor: Actor },
): Promise<{ signingSecret: string; previousUntil: FleetInstant }> {
  const channel = await lockChannel(sql, id);
  if (channel.type !== 'webhook') throw new Problem('notification-channel-unsigned');
  const { signingSecret: previous, ...others } = readable(deps.box, channel, {});
  const signingSecret = toSigningSecret(deps.random.bytes(SIGNING_SECRET_BYTES));
  const previousUntil = deps.clock.fleet() + ROTATION_MS;
  const kept = previous === undefined ? {} : { previousSigningSecret: previous, previousUntil };
  await saveChannel(sql, {
    ...channel,
    revision: channel.revision + 1,
    updatedAt: new Date(deps.clock.wall()),
    secrets: deps.box.seal(labelOf(id), { ...others, ...kept, signingSecret }),
  });
  await audit(deps, sql, { actor, action: 'secret-rotated', id });
  return { signingSecret, previousUntil };
}

async function removeStored(
  deps: ChannelServiceDeps,
  sql: Sql,
  { id, actor }: { id: string; actor: Actor },
): Promise<void> {
  const channel = await lockChannel(sql, id);
  const routes = await routesOfChannel(sql, id, ROUTES_NAMED);
  if (routes.length > 0)
    throw new Problem('in-use', {
      detail: `Routes lead to it: ${routes.map(({ name }) => name).join(', ')}.`,
      members: { notificationRoutes: routes },
    });
  await giveUpDeliveries(sql, { channelId: id, at: deps.clock.fleet(), error: CHANNEL_REMOVED });
  await removeChannel(sql, id);
  await audit(deps, sql, { actor, action: 'deleted', id, before: audited(channel) });
}
