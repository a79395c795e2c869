import type { Clock } from '../../lib/clock.js';
import { Problem } from '../../lib/problem.js';
import type { Random } from '../../lib/random.js';
import { cleanName } from '../../lib/shown-name.js';
import { owedBy, PROOF_LASTS_MS, type AccessRules, type Owed } from '../access/access-rules.js';
import type { Actor } from '../access/actor.js';
import type { Identity } from '../access/authenticator.js';
import type { Page, PlainPageQuery } from '../admin-api/page.js';
import { sqlOfManager, type Sql } from '../database/sql.js';
import type { User } from '../users/index.js';
import { proveUser, type Credentials, type ProofDeps } from './prove-user.js';
import { createSessionRepository, type ListedSession, type LiveSession } from './session-repository.js';
import { csrfTokenOf, hashSecret, newSessionSecret } from './session-secret.js';

/** The time of the last call is stored this often at most. */
const TOUCH_MS = 60_000;
/** What a browser calls itself is kept so far. */
const USER_AGENT = { max: 256, fallback: '' };

export interface SessionServiceDeps extends ProofDeps {
  readonly clock: Clock;
  readonly random: Random;
  readonly sql: Sql;
  readonly rules: AccessRules;
}

export interface SignIn extends Credentials {
  readonly userAgent: string | null;
}

/** What is answered of a session to whoever holds its secret. */
export interface ShownSession {
  readonly user: Pick<User, 'id' | 'name' | 'role' | 'policyId'> & {
    readonly owes: Owed | null;
    readonly secondFactor: boolean;
  };
  readonly csrfToken: string;
  readonly expiresAt: Date;
  readonly provenUntil: Date;
}

export interface OpenedSession {
  readonly secret: string;
  readonly shown: ShownSession;
}

export interface SessionService {
  /**
   * Throws `credentials-refused`, `second-factor-required`, `second-factor-refused`, or `too-many-requests` after several
   * failures.
   */
  signIn(attempt: SignIn): Promise<OpenedSession>;
  /** Proves the user of a session again, which goes on under another secret. Throws as `signIn`, and `session-not-found`. */
  prove(sessionId: string, proof: Credentials): Promise<OpenedSession>;
  show(secret: string): Promise<ShownSession | undefined>;
  identify(secret: string): Promise<Identity | undefined>;
  listOfUser(userId: string, query: PlainPageQuery): Promise<Page<ListedSession>>;
  /** Throws `session-not-found` for one that is not the actor's own. */
  end(sessionId: string, actor: Actor): Promise<void>;
  endAllOf(userId: string, actor: Actor): Promise<void>;
}

export function createSessionService(deps: SessionServiceDeps): SessionService {
  const { clock } = deps;
  const reader = createSessionRepository(deps.sql);
  const find = (secret: string) => reader.find(hashSecret(secret), limitsAt(deps, clock.wall()));
  return {
    signIn: (attempt) => signIn(deps, attempt),
    prove: (sessionId, proof) => proveAgain(deps, sessionId, proof),
    async show(secret) {
      const session = await find(secret);
      return session && shownOf(deps, secret, session);
    },
    async identify(secret) {
      const session = await find(secret);
      if (!session) return undefined;
      const now = clock.wall();
      if (now - session.usedAt.getTime() > TOUCH_MS) await reader.touch(session.id, new Date(now));
      return identityOf(deps, session, now);
    },
    listOfUser: (userId, query) => reader.listOfUser(userId, limitsAt(deps, clock.wall()), query),
    end: (sessionId, actor) =>
      deps.inTransaction(async (manager) => {
        const sql = sqlOfManager(manager);
        if (!(await createSessionRepository(sql).remove(sessionId, actor.id))) throw new Problem('session-not-found');
        const entry = { actor, action: 'session.ended', subjectType: 'session', subjectId: sessionId };
        await deps.audit.append(sql, entry);
      }),
    endAllOf: (userId, actor) =>
      deps.inTransaction(async (manager) => {
        const sql = sqlOfManager(manager);
        const sessions = await createSessionRepository(sql).removeOfUser(userId);
        const entry = { actor, action: 'user.sessions-ended', subjectType: 'user', subjectId: userId };
        await deps.audit.append(sql, { ...entry, after: { sessions } });
      }),
  };
}

function limitsAt({ rules }: SessionServiceDeps, nowMs: number) {
  return { now: new Date(nowMs), idleSince: new Date(nowMs - rules.sessionIdleMs) };
}

function identityOf({ rules }: SessionServiceDeps, session: LiveSession, nowMs: number): Identity {
  const { id, csrfHash, userId, userName, role, policyId, provenAt, hasSecondFactor } = session;
  const isProven = nowMs - provenAt.getTime() < PROOF_LASTS_MS;
  const owes = owedBy(session, rules.secondFactorFor);
  const of = { id, csrfHash, isProven, hasSecondFactor, ...(owes === undefined ? {} : { owes }) };
  return { kind: 'user', id: userId, name: userName, role, policyId, session: of };
}

function shownOf({ rules }: SessionServiceDeps, secret: string, session: LiveSession): ShownSession {
  const { userId: id, userName: name, role, policyId, expiresAt, provenAt, hasSecondFactor } = session;
  const owes = owedBy(session, rules.secondFactorFor) ?? null;
  return {
    user: { id, name, role, policyId, owes, secondFactor: hasSecondFactor },
    csrfToken: csrfTokenOf(secret),
    expiresAt,
    provenUntil: new Date(provenAt.getTime() + PROOF_LASTS_MS),
  };
}

function newSecret({ random }: SessionServiceDeps) {
  const secret = newSessionSecret(random);
  return { secret, stored: { secretHash: hashSecret(secret), csrfHash: hashSecret(csrfTokenOf(secret)) } };
}

function signIn(deps: SessionServiceDeps, attempt: SignIn): Promise<OpenedSession> {
  const { sourceAddress } = attempt;
  const userAgent = attempt.userAgent === null ? null : cleanName(attempt.userAgent, USER_AGENT);
  return proveUser(deps, attempt, async (sql, actor) => {
    const sessions = createSessionRepository(sql);
    const { secret, stored } = newSecret(deps);
    const id = deps.random.uuid();
    const createdAt = new Date(deps.clock.wall());
    const expiresAt = new Date(createdAt.getTime() + deps.rules.sessionLifetimeMs);
    await sessions.removeEnded(limitsAt(deps, createdAt.getTime()));
    await sessions.insert({ id, ...stored, userId: actor.id, createdAt, expiresAt, sourceAddress, userAgent });
    await sessions.noteSignIn(actor.id, createdAt, sourceAddress);
    await deps.audit.append(sql, { actor, action: 'session.created', subjectType: 'session', subjectId: id });
    return opened(deps, sql, secret);
  });
}

function proveAgain(deps: SessionServiceDeps, sessionId: string, proof: Credentials): Promise<OpenedSession> {
  return proveUser(deps, proof, async (sql, actor) => {
    const { secret, stored } = newSecret(deps);
    const provenAt = new Date(deps.clock.wall());
    if (!(await createSessionRepository(sql).renew(sessionId, { ...stored, provenAt })))
      throw new Problem('session-not-found');
    await deps.audit.append(sql, { actor, action: 'session.proven', subjectType: 'session', subjectId: sessionId });
    return opened(deps, sql, secret);
  });
}

/** As it is stored, so that every answer about a session says the same. */
async function opened(deps: SessionServiceDeps, sql: Sql, secret: string): Promise<OpenedSession> {
  const session = await createSessionRepository(sql).find(hashSecret(secret), limitsAt(deps, deps.clock.wall()));
  if (!session) throw new Problem('session-not-found');
  return { secret, shown: shownOf(deps, secret, session) };
}
