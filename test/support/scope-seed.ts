import { randomUUID } from 'node:crypto';
import { toRfc3339 } from '../../lib/clock.js';
import { ScopeModel, type Kind, type Owner } from './scope-model.js';
import type { Headers, ScopeWorld } from './scope-world.js';

const HOUR_MS = 3_600_000;
const PASSWORD = 'a password of somebody';

/** A forest with computers: each number picks one of those that are there before it. */
export interface Plan {
  readonly policies: readonly number[];
  readonly computers: readonly number[];
  readonly moves: readonly (readonly [computer: number, policy: number])[];
  readonly policyMove: readonly [policy: number, below: number] | null;
}

/** Makes what a plan says, by the API as the whole fleet's administrator, and notes it in the model. */
export class ScopeSeed {
  readonly policies: string[] = [];
  readonly computers: string[] = [];
  readonly keys = new Map<string, Headers>();
  /** The incident, and one window for a label. */
  readonly shared: { incident: string; window: string; channel: string } = { incident: '', window: '', channel: '' };
  /** No other plan's computers bear it. */
  readonly label = `site-${randomUUID().slice(0, 8)}`;

  constructor(
    readonly world: ScopeWorld,
    readonly model: ScopeModel,
  ) {}

  async grow(plan: Plan): Promise<void> {
    for (const parent of plan.policies) await this.#policy(parent);
    for (const place of plan.computers) await this.#computer(at(this.policies, place));
    await this.#fleetWide();
    for (const policy of this.policies) await this.#ofPolicy(policy);
    for (const [computer, policy] of plan.moves)
      await this.#move(at(this.computers, computer), at(this.policies, policy));
    if (plan.policyMove) await this.#movePolicy(plan.policyMove);
  }

  #add(kind: Kind, id: string, { name = null, owner }: { name?: string | null; owner: Owner }): string {
    return this.model.add({ kind, id, name, owner });
  }

  async #policy(place: number): Promise<void> {
    const below = place % (this.policies.length + 1);
    const parentId = below === 0 ? null : (this.policies[below - 1] ?? null);
    const name = nameOf('policy');
    const settings = { heartbeatIntervalSeconds: 60 + place };
    const { id } = await this.world.make('/policies', { name, parentId, settings });
    this.policies.push(id);
    this.model.parents.set(id, parentId);
    this.#add('policy', id, { name, owner: { policy: id } });
  }

  async #computer(policyId: string): Promise<void> {
    const { make, query, forest } = this.world;
    const name = nameOf('computer');
    const labels = this.computers.length % 2 === 0 ? { [this.label]: 'x' } : {};
    const { id } = await make('/computers', { name, policyId, labels });
    this.computers.push(id);
    this.model.computers.set(id, { policy: policyId, labels });
    const owner = { computer: id };
    this.#add('computer', id, { name, owner });
    await this.#alert({ type: 'computer-offline', computerId: id, subject: id }, owner);
    const event = this.#add('event', randomUUID(), { name: nameOf('event'), owner });
    await query(
      `INSERT INTO events (id, partition_at, computer_id, lane, epoch, sequence, occurred_ms, received_fleet_ms, kind,
         severity, message) VALUES ($1, $2, $3, 'log', 'e', 1, 0, $4, 'k', 'info', $5)`,
      [event, toRfc3339(forest.clock.wall()), id, forest.clock.fleet(), this.model.things.at(-1)?.name],
    );
    await this.#certificate(id);
    this.#add('command', (await make(`/computers/${id}/commands`, { type: 'ping' })).id, { owner });
    await this.#window({ computerId: id }, owner);
  }

  /** One each, so that a list of certificates is one of computers. */
  async #certificate(computerId: string): Promise<void> {
    const { query, forest } = this.world;
    const [now, end] = [0, HOUR_MS].map((ms) => toRfc3339(forest.clock.wall() + ms));
    await query(
      `INSERT INTO certificates (serial, computer_id, key_digest, pem, not_before, not_after, issued_at)
       VALUES ($1, $2, $3, 'pem', $4, $5, $4)`,
      [randomUUID(), computerId, Buffer.alloc(32), now, end],
    );
  }

  async #alert(
    { type, computerId, subject, incidentId = null }: AlertSeed,
    owner: Owner,
    id: string = randomUUID(),
  ): Promise<string> {
    await this.world.query(
      `INSERT INTO alerts (id, type, severity, state, subject, computer_id, raised_fleet_ms, reason, detail, incident_id)
       VALUES ($1, $2, 'high', 'raised', $3, $4, $5, 'r', $6::jsonb, $7)`,
      [
        id,
        type,
        subject,
        computerId,
        this.world.forest.clock.fleet(),
        JSON.stringify(computerId === null ? DETAIL : {}),
        incidentId,
      ],
    );
    return this.#add('alert', id, { owner });
  }

  async #window(target: object, owner: Owner): Promise<string> {
    const name = nameOf('window');
    const endsAt = toRfc3339(this.world.forest.clock.wall() + HOUR_MS);
    const { id } = await this.world.make('/maintenance-windows', { ...target, endsAt, comment: name });
    return this.#add('window', id, { name, owner });
  }

  /** An incident that holds the first two computers, and what belongs to no policy. */
  async #fleetWide(): Promise<void> {
    const { make, query } = this.world;
    const nobody = { policy: null };
    await this.#alert({ type: 'manager-degraded', computerId: null, subject: randomUUID() }, nobody);
    const held = this.computers.slice(0, 2);
    const factor = { type: 'mass-outage', computerId: null, subject: `policySubtree/${at(this.policies, 0)}` };
    // One open incident per factor: that of an earlier plan has another policy.
    this.shared.incident = await this.#alert(factor, { oneOf: held });
    await query('UPDATE alerts SET incident_id = $1 WHERE computer_id = ANY($2::uuid[])', [this.shared.incident, held]);
    this.shared.window = await this.#window({ label: this.label }, { label: this.label });
    const channel = { name: nameOf('channel'), type: 'webhook', url: 'https://hook.example/x' };
    this.shared.channel = (await make('/notification-channels', channel)).id;
    await this.#route(null);
    const bulk = { filter: { label: [this.label] }, action: { command: { type: 'ping' } } };
    this.#add('operation', (await make('/computers/bulk', bulk)).id, { owner: nobody });
    await this.#access(null);
  }

  async #ofPolicy(policyId: string): Promise<void> {
    const { make } = this.world;
    const owner = { policy: policyId };
    const named = this.computers.find((id) => this.model.computers.get(id)?.policy === policyId);
    const token = { policyId, uses: 1, expiresInSeconds: 600, ...(named === undefined ? {} : { computerId: named }) };
    this.#add('token', (await make('/enrollment-tokens', token)).id, { owner });
    await this.#window({ policyId }, owner);
    await this.#route(policyId);
    const as = await this.#access(policyId);
    const bulk = { filter: {}, action: { command: { type: 'ping' } }, idempotencyKey: 'the same everywhere' };
    this.#add('operation', (await make('/computers/bulk', bulk, as)).id, { owner });
  }

  /** With a message that tells of every computer of the plan. */
  async #route(policyId: string | null): Promise<void> {
    const { make, query, forest } = this.world;
    const name = nameOf('route');
    const { channel: channelId } = this.shared;
    const { id } = await make('/notification-routes', { name, channelId, policyId });
    this.#add('route', id, { name, owner: { policy: policyId } });
    const delivery = this.#add('delivery', randomUUID(), { owner: { policy: policyId } });
    const now = forest.clock.fleet();
    await query(
      `INSERT INTO notification_deliveries (id, channel_id, route_id, kind, state, is_collecting, alert_count,
         created_fleet_ms, due_fleet_ms, expires_fleet_ms) VALUES ($1, $2, $3, 'raised', 'dead', FALSE, $4, $5, $5, $5)`,
      [delivery, channelId, id, this.computers.length, now],
    );
    await query(
      `INSERT INTO notification_delivery_alerts (delivery_id, alert_id, computer_id, position, shown)
       SELECT $1, alerts.id, alerts.computer_id, 0, '{}' FROM alerts WHERE alerts.computer_id = ANY($2::uuid[])`,
      [delivery, this.computers],
    );
  }

  /** A user and an administrator's key, bound to the policy. */
  async #access(policyId: string | null): Promise<Headers> {
    const { make } = this.world;
    const owner = { policy: policyId };
    const user = { name: nameOf('user'), role: 'operator', password: PASSWORD, policyId };
    const userId = this.#add('user', (await make('/users', user)).id, { name: user.name, owner });
    await this.#signedIn(userId, owner);
    const wanted = { name: nameOf('key'), role: 'administrator', policyId };
    const made = await make<{ id: string; key: string }>('/api-keys', wanted);
    // Whoever makes something is named with it.
    this.#add('key', made.id, { owner });
    const as = { authorization: `Bearer ${made.key}` };
    if (policyId !== null) this.keys.set(policyId, as);
    return as;
  }

  /** With a second factor, and a recovery code of it. */
  async #signedIn(userId: string, owner: Owner): Promise<void> {
    const { query, forest } = this.world;
    const session = this.#add('session', randomUUID(), { name: nameOf('browser'), owner });
    const now = toRfc3339(forest.clock.wall());
    const secret = Buffer.from(session);
    await query(
      `INSERT INTO sessions (id, secret_hash, csrf_hash, user_id, created_at, used_at, expires_at, proven_at, user_agent)
       VALUES ($1, $2, $2, $3, $4, $4, $5, $4, $6)`,
      [session, secret, userId, now, toRfc3339(forest.clock.wall() + HOUR_MS), this.model.things.at(-1)?.name],
    );
    await query('INSERT INTO second_factors (user_id, secret, created_at, confirmed_at) VALUES ($1, $2, $3, $3)', [
      userId,
      secret,
      now,
    ]);
    await query('INSERT INTO recovery_codes (id, user_id, code_hash) VALUES ($1, $2, $3)', [
      randomUUID(),
      userId,
      secret,
    ]);
  }

  async #move(id: string, policyId: string): Promise<void> {
    const computer = this.model.computers.get(id);
    if (!computer || computer.policy === policyId) return;
    await this.world.change(`/computers/${id}`, { policyId });
    computer.policy = policyId;
  }

  async #movePolicy([place, target]: readonly [number, number]): Promise<void> {
    const id = at(this.policies, place);
    const parentId = at(this.policies, target);
    if (this.model.holds(id, parentId) || this.model.parents.get(id) === parentId) return;
    await this.world.change(`/policies/${id}`, { parentId });
    this.model.parents.set(id, parentId);
  }
}

interface AlertSeed {
  readonly type: string;
  readonly computerId: string | null;
  readonly subject: string;
  readonly incidentId?: string | null;
}

/** What an incident tells of everybody. */
const DETAIL = { silent: 77, of: 99, sample: ['a name of somebody else'] };

function nameOf(noun: string): string {
  return `${noun} ${randomUUID()}`;
}

export function at<T>(list: readonly T[], place: number): T {
  return list[place % list.length] as T;
}
