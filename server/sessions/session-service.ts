import type { Clock } from '../../lib/clock.js';
import { Problem } from '../../lib/problem.js';
import type { Random } from '../../lib/random.js';
import { anonymousActor, type Actor } from '../access/actor.js';
import type { Identity } from '../access/authenticator.js';
import { assertMayTry, type LoginBackoff } from '../access/login-backoff.js';
import type { AuditLog } from '../audit/index.js';
import type { UnitOfWork } from '../database/in-transaction.js';
import { sqlOfManager, type Sql } from '../database/sql.js';
import type { User, UserService } from '../users/index.js';
import { createSessionRepository, type LiveSession } from './session-repository.js';
import { csrfTokenOf, hashSecret, newSessionSecret } from './session-secret.js';

/** A session ends after this long without a call, and in any case after `LIFETIME_MS`. */
const IDLE_MS = 8 * 3_600_000;
const LIFETIME_MS = 24 * 3_600_000;
/** The time of the last call is stored this often at most. */
const TOUCH_MS = 60_000;

export interface SessionServiceDeps {
  readonly clock: Clock;
  readonly random: Random;
  readonly inTransaction: UnitOfWork;
  readonly sql: Sql;
  readonly audit: AuditLog;
  readonly users: Pick<UserService, 'verify'>;
  readonly backoff: LoginBackoff;
}

export interface SignIn {
  readonly name: string;
  readonly password: string;
  readonly sourceAddress: string | null;
}

export interface SignedIn {
  readonly user: Pick<User, 'id' | 'name' | 'role' | 'policyId'>;
  readonly secret: string;
  readonly csrfToken: string;
  readonly expiresAt: Date;
}

export interface SessionService {
  /** Throws `credentials-refused`, or `too-many-requests` after several failures. */
  signIn(attempt: SignIn): Promise<SignedIn>;
  find(secret: string): Promise<LiveSession | undefined>;
  identify(secret: string): Promise<Identity | undefined>;
  end(sessionId: string, actor: Actor): Promise<void>;
}

export function createSessionService(deps: SessionServiceDeps): SessionService {
  const { clock } = deps;
  const reader = createSessionRepository(deps.sql);
  const find = (secret: string) => reader.find(hashSecret(secret), limitsAt(clock.wall()));
  return {
    find,
    signIn: (attempt) => signIn(deps, attempt),
    async identify(secret) {
      const session = await find(secret);
      if (!session) return undefined;
      const now = clock.wall();
      if (now - session.usedAt.getTime() > TOUCH_MS) await reader.touch(session.id, new Date(now));
      const { id, csrfHash, userId, userName, role, policyId } = session;
      return { kind: 'user', id: userId, name: userName, role, policyId, session: { id, csrfHash } };
    },
    end: (sessionId, actor) =>
      deps.inTransaction(async (manager) => {
        const sql = sqlOfManager(manager);
        if (!(await createSessionRepository(sql).remove(sessionId))) return;
        const entry = { actor, action: 'session.ended', subjectType: 'session', subjectId: sessionId };
        await deps.audit.append(sql, entry);
      }),
  };
}

function limitsAt(nowMs: number) {
  return { now: new Date(nowMs), idleSince: new Date(nowMs - IDLE_MS) };
}

/**
 * (1) Wait if there were many failures, (2) verify, (3) store the session, unless the password was changed meanwhile:
 * a session must not outlive the password it was opened with.
 */
async function signIn(deps: SessionServiceDeps, { name, password, sourceAddress }: SignIn): Promise<SignedIn> {
  const attempt = { name, address: sourceAddress ?? 'unknown' };
  assertMayTry(deps.backoff, attempt);
  const { isRight, user } = await deps.users.verify(name, password);
  const signedIn = isRight && user ? await openSession(deps, user, sourceAddress) : undefined;
  if (!signedIn) {
    await noteRefusal(deps, user, sourceAddress);
    throw new Problem('credentials-refused', { detail: 'Name or password is wrong.' });
  }
  deps.backoff.succeeded(attempt);
  return signedIn;
}

function openSession(
  deps: SessionServiceDeps,
  user: User,
  sourceAddress: string | null,
): Promise<SignedIn | undefined> {
  const secret = newSessionSecret(deps.random);
  const csrfToken = csrfTokenOf(secret);
  const session = {
    id: deps.random.uuid(),
    secretHash: hashSecret(secret),
    csrfHash: hashSecret(csrfToken),
    userId: user.id,
  };
  return deps.inTransaction(async (manager) => {
    const sql = sqlOfManager(manager);
    const sessions = createSessionRepository(sql);
    if (!(await sessions.holdUser(user.id, user.passwordChangedAt))) return undefined;
    const nowMs = deps.clock.wall();
    const expiresAt = new Date(nowMs + LIFETIME_MS);
    await sessions.removeEnded(limitsAt(nowMs));
    await sessions.insert({ ...session, createdAt: new Date(nowMs), expiresAt });
    const { id, name, role, policyId } = user;
    const actor: Actor = { kind: 'user', id, name, role, sourceAddress };
    const entry = { actor, action: 'session.created', subjectType: 'session', subjectId: session.id };
    await deps.audit.append(sql, entry);
    return { user: { id, name, role, policyId }, secret, csrfToken, expiresAt };
  });
}

/** A name that nobody has is not kept: people type passwords there. */
async function noteRefusal(deps: SessionServiceDeps, user: User | undefined, source: string | null): Promise<void> {
  const actor = anonymousActor(source);
  const subject = { subjectType: 'user', subjectId: user?.id ?? null, after: user && { name: user.name } };
  await deps.inTransaction((manager) =>
    deps.audit.append(sqlOfManager(manager), { actor, action: 'session.refused', ...subject }),
  );
}
