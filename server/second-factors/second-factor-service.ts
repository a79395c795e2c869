import { invalidFields, Problem } from '../../lib/problem.js';
import type { Random } from '../../lib/random.js';
import type { Actor } from '../access/actor.js';
import { matchingStep, toBase32, TOTP, totpUri } from '../access/totp.js';
import type { AuditLog } from '../audit/index.js';
import type { UnitOfWork } from '../database/in-transaction.js';
import { sqlOfManager, type Sql } from '../database/sql.js';
import { hashRecoveryCode, newRecoveryCodes } from './recovery-code.js';
import { openSecret, sealSecret, type JudgeDeps } from './second-factor-judge.js';
import {
  createSecondFactorRepository,
  type SecondFactorRepository,
  type SecondFactorStatus,
} from './second-factor-repository.js';
import { readCode } from './second-factor-rules.js';

export interface SecondFactorServiceDeps extends JudgeDeps {
  readonly random: Random;
  readonly inTransaction: UnitOfWork;
  readonly sql: Sql;
  /** Ends a user's sessions, but for one, in the caller's transaction. */
  readonly endSessions: (sql: Sql, userId: string, but?: string) => Promise<void>;
}

export interface BegunSecondFactor {
  /** Base32, as an authenticator takes it. */
  readonly secret: string;
  readonly uri: string;
}

export interface SecondFactorService {
  /** Undefined where none was begun. */
  status(userId: string): Promise<SecondFactorStatus | undefined>;
  /** A secret that counts once it is confirmed. Throws `second-factor-exists`. */
  begin(user: Actor): Promise<BegunSecondFactor>;
  /**
   * Answers the recovery codes, shown this once; ends the user's other sessions. Throws `request-invalid` for a wrong
   * code, `second-factor-not-found`, `second-factor-exists`.
   */
  confirm(user: Actor, sessionId: string, code: string): Promise<readonly string[]>;
  /** New codes in the place of all others. Throws `second-factor-not-found`. */
  renewRecoveryCodes(user: Actor): Promise<readonly string[]>;
  /** Ends the user's sessions, but for the one named. Throws `second-factor-not-found`. */
  remove(actor: Actor, userId: string, but?: string): Promise<void>;
}

interface Tools {
  readonly sql: Sql;
  readonly factors: SecondFactorRepository;
}

export function createSecondFactorService(deps: SecondFactorServiceDeps): SecondFactorService {
  const inTransaction = <T>(work: (tools: Tools) => Promise<T>): Promise<T> =>
    deps.inTransaction((manager) => {
      const sql = sqlOfManager(manager);
      return work({ sql, factors: createSecondFactorRepository(sql) });
    });
  return {
    status: (userId) => createSecondFactorRepository(deps.sql).status(userId),
    async begin(user) {
      const secret = deps.random.bytes(TOTP.secretBytes);
      const sealed = sealSecret(deps.box, user.id, secret);
      const factor = { userId: user.id, secret: sealed, createdAt: new Date(deps.clock.wall()) };
      if (!(await inTransaction(({ factors }) => factors.begin(factor)))) throw new Problem('second-factor-exists');
      return { secret: toBase32(secret), uri: totpUri({ secret, account: user.name }) };
    },
    confirm: (user, sessionId, code) => inTransaction((tools) => confirm(deps, tools, { user, sessionId, code })),
    renewRecoveryCodes: (user) =>
      inTransaction(async (tools) => {
        if (!(await tools.factors.lock(user.id))?.confirmedAt) throw new Problem('second-factor-not-found');
        await note(deps, tools.sql, { actor: user, userId: user.id, what: 'recovery-codes-renewed' });
        return giveCodes(deps, tools.factors, user.id);
      }),
    remove: (actor, userId, but) => inTransaction(({ sql }) => remove(deps, sql, { actor, userId, but })),
  };
}

interface Confirmation {
  readonly user: Actor;
  readonly sessionId: string;
  readonly code: string;
}

async function confirm(
  deps: SecondFactorServiceDeps,
  { sql, factors }: Tools,
  { user, sessionId, code }: Confirmation,
): Promise<readonly string[]> {
  const factor = await factors.lock(user.id);
  if (!factor) throw new Problem('second-factor-not-found');
  if (factor.confirmedAt) throw new Problem('second-factor-exists');
  const nowMs = deps.clock.wall();
  const secret = openSecret(deps.box, user.id, factor);
  const step = matchingStep({ secret, code: readCode(code).code, wallMs: nowMs, lastStep: factor.lastStep });
  if (step === undefined)
    throw invalidFields([{ pointer: '#/code', detail: 'is not what the authenticator should show now' }]);
  await factors.confirm(user.id, new Date(nowMs), step);
  await deps.endSessions(sql, user.id, sessionId);
  await note(deps, sql, { actor: user, userId: user.id, what: 'second-factor-set' });
  return giveCodes(deps, factors, user.id);
}

async function giveCodes(
  { random }: SecondFactorServiceDeps,
  factors: SecondFactorRepository,
  userId: string,
): Promise<readonly string[]> {
  const codes = newRecoveryCodes(random);
  const stored = codes.map((code) => ({ id: random.uuid(), hash: hashRecoveryCode(userId, code) }));
  await factors.setRecoveryCodes(userId, stored);
  return codes;
}

interface Removal {
  readonly actor: Actor;
  readonly userId: string;
  readonly but: string | undefined;
}

async function remove(deps: SecondFactorServiceDeps, sql: Sql, { actor, userId, but }: Removal): Promise<void> {
  const removed = await dropSecondFactor(deps.audit, sql, { actor, userId });
  if (removed === 'none') throw new Problem('second-factor-not-found');
  if (removed === 'on') await deps.endSessions(sql, userId, but);
}

/** Removes a second factor and notes it, unless it was never confirmed and counted for nothing; leaves the sessions. */
export async function dropSecondFactor(
  audit: AuditLog,
  sql: Sql,
  { actor, userId }: Pick<Removal, 'actor' | 'userId'>,
): Promise<'none' | 'begun' | 'on'> {
  const factors = createSecondFactorRepository(sql);
  const factor = await factors.lock(userId);
  if (!factor || !(await factors.remove(userId))) return 'none';
  if (!factor.confirmedAt) return 'begun';
  await note({ audit }, sql, { actor, userId, what: 'second-factor-removed' });
  return 'on';
}

function note(
  { audit }: Pick<SecondFactorServiceDeps, 'audit'>,
  sql: Sql,
  { actor, userId, what }: { readonly actor: Actor; readonly userId: string; readonly what: string },
): Promise<void> {
  return audit.append(sql, { actor, action: `user.${what}`, subjectType: 'user', subjectId: userId });
}
