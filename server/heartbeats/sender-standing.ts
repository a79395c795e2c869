import type { Log } from '../../lib/log.js';
import type { Problem } from '../../lib/problem.js';
import { createBoundedMap } from '../../lib/token-bucket.js';
import type { DatabaseBreaker } from '../database/database-breaker.js';
import type { Sql } from '../database/sql.js';
import type { Exchange } from './exchange.js';
import { removed, revoked } from './report-planner.js';

export type Sender = Exchange['identity'];

export interface SenderStandingDeps {
  readonly sql: Sql;
  readonly breaker: Pick<DatabaseBreaker, 'isAway'>;
  readonly monotonic: () => number;
  readonly log: Log;
}

/** An answer is given again for so long: who floods the port with bad reports costs one query a second. */
const REMEMBERED_MS = 1000;
const REMEMBERED_SENDERS = 10_000;

const READ = `
SELECT (computer_status.status = 'revoked' OR certificates.revoked_at IS NOT NULL) AS is_revoked
FROM computers JOIN computer_status ON computer_status.computer_id = computers.id
LEFT JOIN certificates ON certificates.serial = $2
WHERE computers.id = $1`;

/**
 * Why a computer's reports are refused whatever they say, for those that are refused for what they say: a good report
 * learns it from its own transaction, and never asks here. Undefined too where the database cannot be asked.
 */
export function createSenderStanding(deps: SenderStandingDeps): (sender: Sender) => Promise<Problem | undefined> {
  const answers = createBoundedMap(REMEMBERED_SENDERS, () => ({
    askedAt: Number.NEGATIVE_INFINITY,
    answer: Promise.resolve<Problem | undefined>(undefined),
  }));
  return (sender) => {
    const known = answers(`${sender.computerId} ${sender.serial}`);
    const now = deps.monotonic();
    if (now - known.askedAt >= REMEMBERED_MS && !deps.breaker.isAway()) {
      known.askedAt = now;
      known.answer = ask(deps, sender);
    }
    return known.answer;
  };
}

async function ask({ sql, log }: SenderStandingDeps, { computerId, serial }: Sender): Promise<Problem | undefined> {
  try {
    const [row] = await sql.query<{ is_revoked: boolean }>(READ, [computerId, serial]);
    if (!row) return removed();
    return row.is_revoked ? revoked() : undefined;
  } catch (error) {
    log.warn({ err: error, computerId }, 'The standing of a computer cannot be read');
    return undefined;
  }
}
