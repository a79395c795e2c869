import { isDataError, isTransientDatabaseError, sqlStateOf } from '../database/database-errors.js';
import { CommitUnknown } from './hot-session.js';

/** The settings cache is ahead of the rows that a batch read: the policy is no longer there. */
export class StaleSettings extends Error {}

/**
 * What a failed batch means: `data`: the database will never take one of its reports; `conflict`: run it again at once;
 * `away`: not now; `unknown`: a commit without an answer; `bug`: ours.
 */
export type FailureKind = 'data' | 'conflict' | 'away' | 'unknown' | 'bug';

const CONFLICTS: ReadonlySet<string> = new Set(['40001', '40P01', '55P03']);
/** Resources, operator intervention (a cancelled statement too), system: of the server's moment, not of the report. */
const AWAY_CLASSES: ReadonlySet<string> = new Set(['53', '57', '58']);

export function kindOfFailure(error: unknown): FailureKind {
  if (error instanceof CommitUnknown) return 'unknown';
  if (error instanceof StaleSettings) return 'conflict';
  const state = sqlStateOf(error);
  if (state !== undefined && CONFLICTS.has(state)) return 'conflict';
  if (isTransientDatabaseError(error)) return 'away';
  if (state === undefined) return 'bug';
  if (isDataError(error) || state.startsWith('23')) return 'data';
  return AWAY_CLASSES.has(state.slice(0, 2)) ? 'away' : 'bug';
}
