import type { ComputerKind } from '../../policies/setting-values.js';
import { formatEnrollmentToken, hashEnrollmentSecret } from '../../protocol/enrollment-token.js';
import type { Clock } from '../../lib/clock.js';
import { invalidFields, Problem, type FieldError } from '../../lib/problem.js';
import type { Random } from '../../lib/random.js';
import type { Scope } from '../access/scope.js';
import { parsePage, type Page, type PageQuery } from '../admin-api/page.js';
import type { AuditLog } from '../audit/audit.js';
import type { UnitOfWork } from '../database/in-transaction.js';
import { sqlOfManager, type Sql } from '../database/sql.js';
import type { Caller } from '../policies/forest-edit.js';
import { policyFaults } from '../policies/index.js';
import { kindFaults, usesFaults } from './token-rules.js';
import {
  createTokenRepository,
  type NewToken,
  type StoredToken,
  TOKEN_ORDER,
  type TokenRepository,
} from './token-repository.js';

const SECRET_BYTES = 32;
const SECOND_MS = 1000;
/** Where the command expects the token; the operator puts it there, so that it is in no shell history. */
const TOKEN_FILE = 'enrollment-token.txt';

export interface EnrollmentTokenDeps {
  readonly sql: Sql;
  readonly inTransaction: UnitOfWork;
  readonly clock: Clock;
  readonly random: Random;
  readonly audit: AuditLog;
  /** Lower-case hex SHA-256 of the root's DER. */
  readonly caFingerprint: string;
  /** Where agents reach this manager; asked at every token, since the port may be known only after the start. */
  readonly agentUrl: () => string;
}

export interface TokenRequest {
  readonly policyId: string;
  readonly kind: ComputerKind | undefined;
  readonly uses: number;
  readonly expiresInSeconds: number;
  readonly labels: Readonly<Record<string, string>>;
  readonly ratePerSecond: number | null;
  readonly computerId: string | null;
}

export interface CreatedToken {
  readonly id: string;
  readonly token: string;
  readonly command: string;
  readonly expiresAt: string;
}

export interface EnrollmentTokenService {
  create(caller: Caller, request: TokenRequest): Promise<CreatedToken>;
  list(scope: Scope, query: PageQuery): Promise<Page<StoredToken>>;
  remove(caller: Caller, tokenId: string): Promise<void>;
  /** What it names that is not there, or of another kind. */
  createFaults(
    scope: Scope,
    named: { readonly [K in 'policyId' | 'computerId']: string | undefined } & Pick<TokenRequest, 'kind'>,
  ): Promise<readonly FieldError[]>;
}

export function createEnrollmentTokenService(deps: EnrollmentTokenDeps): EnrollmentTokenService {
  return {
    async create(caller, request) {
      const secret = deps.random.bytes(SECRET_BYTES).toString('hex');
      const token = await deps.inTransaction(async (manager) => {
        const sql = sqlOfManager(manager);
        return store(deps, sql, { caller, request, hash: hashEnrollmentSecret(secret) });
      });
      return {
        id: token.id,
        token: formatEnrollmentToken({ secret, caFingerprint: deps.caFingerprint }),
        command: `npm run --silent agent -- enroll --manager ${deps.agentUrl()} --token-file ${TOKEN_FILE}`,
        expiresAt: token.expiresAt.toISOString(),
      };
    },
    list: (scope, query) => createTokenRepository(deps.sql).list(scope, parsePage(query, TOKEN_ORDER), query.q),
    async createFaults(scope, { policyId, computerId, kind }) {
      const ofPolicy = await policyFaults(deps.sql, scope, { policyId });
      if (computerId === undefined) return ofPolicy;
      const computer = await createTokenRepository(deps.sql).holdComputer(scope, computerId);
      const missing = [{ pointer: '#/computerId', detail: 'must name a record that was made beforehand' }];
      return [...ofPolicy, ...(computer ? kindFaults(kind, computer) : missing)];
    },
    async remove(caller, tokenId) {
      await deps.inTransaction(async (manager) => {
        const sql = sqlOfManager(manager);
        const repository = createTokenRepository(sql);
        const token = await repository.lock(caller.scope, tokenId);
        if (!token) throw new Problem('enrollment-token-not-found');
        await repository.remove(tokenId);
        const entry = { actor: caller.actor, action: 'enrollment-token.deleted', subjectType: 'enrollment-token' };
        await deps.audit.append(sql, { ...entry, subjectId: tokenId, before: audited(token) });
      });
    },
  };
}

interface TokenStoring {
  readonly caller: Caller;
  readonly request: TokenRequest;
  readonly hash: Buffer;
}

async function store(deps: EnrollmentTokenDeps, sql: Sql, { caller, request, hash }: TokenStoring): Promise<NewToken> {
  const repository = createTokenRepository(sql);
  if (!(await repository.holdPolicy(caller.scope, request.policyId))) throw new Problem('policy-not-found');
  const kind = await kindOf(repository, caller.scope, request);
  const now = deps.clock.wall();
  const { expiresInSeconds, kind: _asked, ...same } = request;
  const token: NewToken = {
    ...same,
    id: deps.random.uuid(),
    kind,
    hash,
    expiresAt: new Date(now + expiresInSeconds * SECOND_MS),
    createdAt: new Date(now),
    createdBy: caller.actor.name,
  };
  await repository.insert(token);
  const entry = { actor: caller.actor, action: 'enrollment-token.created', subjectType: 'enrollment-token' };
  await deps.audit.append(sql, { ...entry, subjectId: token.id, after: audited(token) });
  return token;
}

/** A token that names a record can be used once, and only for its kind. */
async function kindOf(repository: TokenRepository, scope: Scope, request: TokenRequest): Promise<ComputerKind> {
  const { computerId, kind, uses } = request;
  if (computerId === null) return kind ?? 'agent';
  const computer = await repository.holdComputer(scope, computerId);
  if (!computer)
    throw new Problem('computer-not-found', { detail: 'computerId must name a record that was made beforehand.' });
  const faults = [...usesFaults({ computerId, uses }), ...kindFaults(kind, computer)];
  if (faults.length > 0) throw invalidFields(faults);
  return computer.kind;
}

function audited(token: Omit<NewToken, 'hash'>): object {
  const { policyId, kind, uses, expiresAt, labels, ratePerSecond, computerId } = token;
  return { policyId, kind, uses, expiresAt: expiresAt.toISOString(), labels, ratePerSecond, computerId };
}
