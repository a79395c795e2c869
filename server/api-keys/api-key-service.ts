import { createHash } from 'node:crypto';
import type { Clock } from '../../lib/clock.js';
import type { Random } from '../../lib/random.js';
import type { Identity } from '../access/authenticator.js';
import type { Scope } from '../access/scope.js';
import type { Page, PageQuery } from '../admin-api/page.js';
import type { AuditLog } from '../audit/index.js';
import type { UnitOfWork } from '../database/in-transaction.js';
import { sqlOfManager, type Sql } from '../database/sql.js';
import type { Caller } from '../policies/forest-edit.js';
import { assertBindable } from '../policies/policy-references.js';
import type { CreateApiKeyBody } from './api-key-dto.js';
import { createApiKeyRepository, type ApiKey } from './api-key-repository.js';

const KEY_BYTES = 32;
/** Enough to tell keys apart; the other 220 bits stay unknown. */
const PREFIX_CHARACTERS = 'wbk_'.length + 6;
/** The time of the last use is stored this often at most. */
const TOUCH_MS = 60_000;
const KEY = /^wbk_[A-Za-z0-9_-]{43}$/;

export interface ApiKeyServiceDeps {
  readonly clock: Clock;
  readonly random: Random;
  readonly inTransaction: UnitOfWork;
  readonly sql: Sql;
  readonly audit: AuditLog;
}

export interface ApiKeyService {
  list(scope: Scope, query: PageQuery): Promise<Page<ApiKey>>;
  /**
   * The key itself is answered this once and stored as a hash only. Throws `name-taken`, `policy-not-found`,
   * `beyond-scope`.
   */
  create(caller: Caller, body: CreateApiKeyBody): Promise<{ readonly apiKey: ApiKey; readonly key: string }>;
  /** Throws `api-key-not-found`. */
  remove(caller: Caller, id: string): Promise<void>;
  identify(key: string, sourceAddress: string | null): Promise<Identity | undefined>;
}

export function createApiKeyService(deps: ApiKeyServiceDeps): ApiKeyService {
  const reader = createApiKeyRepository(deps.sql);
  return {
    list: (scope, query) => reader.list(scope, query),
    create: (caller, body) => createKey(deps, caller, body),
    remove: ({ actor, scope }, id) =>
      deps.inTransaction(async (manager) => {
        const sql = sqlOfManager(manager);
        const { name, role, policyId } = await createApiKeyRepository(sql).remove(scope, id);
        const entry = { actor, action: 'api-key.deleted', subjectType: 'api-key', subjectId: id };
        await deps.audit.append(sql, { ...entry, before: { name, role, policyId } });
      }),
    async identify(key, sourceAddress) {
      if (!KEY.test(key)) return undefined;
      const now = new Date(deps.clock.wall());
      const known = await reader.findValid(hashKey(key), now);
      if (!known) return undefined;
      if (isStale(known, now, sourceAddress)) await reader.touch(known.id, now, sourceAddress);
      const { id, name, role, policyId } = known;
      return { kind: 'api-key', id, name, role, policyId };
    },
  };
}

async function createKey(deps: ApiKeyServiceDeps, { actor, scope }: Caller, body: CreateApiKeyBody) {
  const policyId = scope.bindingFor(body.policyId);
  const key = `wbk_${deps.random.bytes(KEY_BYTES).toString('base64url')}`;
  const nowMs = deps.clock.wall();
  const { name, role, expiresInSeconds } = body;
  const expiresAt = expiresInSeconds === undefined ? null : new Date(nowMs + expiresInSeconds * 1000);
  const id = deps.random.uuid();
  const made = { createdAt: new Date(nowMs), createdBy: actor.name, lastUsedAt: null, lastUsedFrom: null };
  const apiKey: ApiKey = { id, name, role, policyId, ...made, expiresAt, prefix: key.slice(0, PREFIX_CHARACTERS) };
  await deps.inTransaction(async (manager) => {
    const sql = sqlOfManager(manager);
    await assertBindable(sql, scope, policyId);
    await createApiKeyRepository(sql).insert(apiKey, hashKey(key));
    const entry = { actor, action: 'api-key.created', subjectType: 'api-key', subjectId: id };
    await deps.audit.append(sql, { ...entry, after: { name, role, policyId, expiresAt, prefix: apiKey.prefix } });
  });
  return { apiKey, key };
}

/** Another address is told at once: the first use of a stolen key is one. */
function isStale({ lastUsedAt, lastUsedFrom }: ApiKey, now: Date, sourceAddress: string | null): boolean {
  if (lastUsedAt === null) return true;
  const ageMs = now.getTime() - lastUsedAt.getTime();
  return ageMs > TOUCH_MS || (ageMs > 0 && lastUsedFrom !== sourceAddress);
}

/** SHA-256: 32 random bytes need no slow hash. */
function hashKey(key: string): Buffer {
  return createHash('sha256').update(key, 'latin1').digest();
}
