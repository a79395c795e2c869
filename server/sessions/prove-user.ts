import { Problem } from '../../lib/problem.js';
import { anonymousActor, type Actor } from '../access/actor.js';
import { assertMayTry, type LoginBackoff } from '../access/login-backoff.js';
import type { AuditLog } from '../audit/index.js';
import type { UnitOfWork } from '../database/in-transaction.js';
import { sqlOfManager, type Sql } from '../database/sql.js';
import type { SecondFactorJudge } from '../second-factors/index.js';
import type { User, UserService } from '../users/index.js';
import { createSessionRepository } from './session-repository.js';

export interface ProofDeps {
  readonly inTransaction: UnitOfWork;
  readonly audit: AuditLog;
  readonly users: Pick<UserService, 'verify'>;
  readonly secondFactors: SecondFactorJudge;
  readonly backoff: LoginBackoff;
}

export interface Credentials {
  readonly name: string;
  readonly password: string;
  readonly code: string | undefined;
  readonly sourceAddress: string | null;
}

type Outcome<T> =
  | { readonly kind: 'proven'; readonly value: T }
  | { readonly kind: 'password' | 'missing' | 'wrong' }
  | { readonly kind: 'wait'; readonly waitMs: number };

/**
 * (1) Waits if there were many failures, (2) verifies the password, (3) holds the user, unless the password was changed
 * meanwhile: a session must not outlive the password it was opened with, (4) judges the code, and (5) does the work. A
 * wrong code is counted, so the transaction commits then too. Throws `credentials-refused`, `second-factor-required`,
 * `second-factor-refused` or `too-many-requests`.
 */
export async function proveUser<T>(
  deps: ProofDeps,
  credentials: Credentials,
  work: (sql: Sql, actor: Actor, user: User) => Promise<T>,
): Promise<T> {
  const { name, password, sourceAddress } = credentials;
  const attempt = { name, address: sourceAddress ?? 'unknown' };
  assertMayTry(deps.backoff, attempt);
  const { isRight, user } = await deps.users.verify(name, password);
  const outcome: Outcome<T> = isRight && user ? await judge(deps, { credentials, user, work }) : { kind: 'password' };
  if (outcome.kind === 'proven') {
    deps.backoff.succeeded(attempt);
    return outcome.value;
  }
  // The password was right: the way to the code is no guess.
  if (outcome.kind === 'missing') deps.backoff.withdrawn(attempt);
  else await noteRefusal(deps, { user, sourceAddress, reason: outcome.kind });
  throw refusalOf(outcome);
}

interface Judged<T> {
  readonly credentials: Credentials;
  readonly user: User;
  readonly work: (sql: Sql, actor: Actor, user: User) => Promise<T>;
}

function judge<T>(deps: ProofDeps, { credentials, user, work }: Judged<T>): Promise<Outcome<T>> {
  const { id, name, role } = user;
  const actor: Actor = { kind: 'user', id, name, role, sourceAddress: credentials.sourceAddress };
  return deps.inTransaction(async (manager): Promise<Outcome<T>> => {
    const sql = sqlOfManager(manager);
    if (!(await createSessionRepository(sql).holdUser(id, user.passwordChangedAt))) return { kind: 'password' };
    const verdict = await deps.secondFactors.judge(sql, actor, credentials.code);
    if (verdict.kind === 'wait') return verdict;
    if (verdict.kind === 'missing' || verdict.kind === 'wrong') return { kind: verdict.kind };
    return { kind: 'proven', value: await work(sql, actor, user) };
  });
}

function refusalOf<T>(outcome: Exclude<Outcome<T>, { readonly kind: 'proven' }>): Problem {
  switch (outcome.kind) {
    case 'password':
      return new Problem('credentials-refused', { detail: 'Name or password is wrong.' });
    case 'missing':
      return new Problem('second-factor-required');
    case 'wrong':
      return new Problem('second-factor-refused');
    case 'wait': {
      const detail = 'The code was wrong several times; wait before the next one, or use a recovery code.';
      const retryAfterSeconds = Math.ceil(outcome.waitMs / 1000);
      return new Problem('too-many-requests', { detail, retryAfterSeconds });
    }
  }
}

interface Refusal {
  readonly user: User | undefined;
  readonly sourceAddress: string | null;
  readonly reason: string;
}

/** A name that nobody has is not kept: people type passwords there. */
async function noteRefusal(deps: ProofDeps, { user, sourceAddress, reason }: Refusal): Promise<void> {
  const actor = anonymousActor(sourceAddress);
  const subject = { subjectType: 'user', subjectId: user?.id ?? null, after: user && { name: user.name, reason } };
  await deps.inTransaction((manager) =>
    deps.audit.append(sqlOfManager(manager), { actor, action: 'session.refused', ...subject }),
  );
}
