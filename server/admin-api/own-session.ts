import { Problem } from '../../lib/problem.js';
import type { Actor } from '../access/actor.js';
import type { AdminRequest } from './route.js';

/** Who signed in, and the session that he calls by; throws `session-not-found` for an API key, which has none. */
export function ownSession({ actor, sessionId }: Pick<AdminRequest, 'actor' | 'sessionId'>): {
  readonly actor: Actor;
  readonly sessionId: string;
} {
  if (sessionId === undefined) throw new Problem('session-not-found');
  return { actor, sessionId };
}
