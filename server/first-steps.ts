import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { toRfc3339 } from '../lib/clock.js';
import { writeDurably } from '../lib/durable-file.js';
import { hashEnrollmentSecret, parseEnrollmentToken } from '../protocol/enrollment-token.js';
import { MANAGER_ACTOR } from './access/actor.js';
import { Scope } from './access/scope.js';
import type { Core } from './compose-core.js';
import type { EnrollmentTokenService } from './enrollment/token-service.js';
import type { Storage } from './open-storage.js';

const USES = 10;
const LIFETIME_SECONDS = 86_400;

export interface FirstStepsDeps {
  readonly dataDir: string;
  readonly tokens: EnrollmentTokenService;
  readonly core: Core;
  readonly storage: Storage;
}

/**
 * While no computer is enrolled, a token of ten uses and one day waits in the data directory (0600), so that the
 * printed command enrolls this machine. Answers the file's path.
 */
export async function offerFirstToken({ dataDir, tokens, core, storage }: FirstStepsDeps): Promise<string | undefined> {
  const path = join(dataDir, 'enrollment-token');
  const [{ any } = { any: true }] = await storage.sql.query<{ any: boolean }>(
    'SELECT EXISTS (SELECT FROM certificates) AS any',
  );
  if (any) return undefined;
  if (await isUsable(path, storage)) return path;
  const basePolicy = [...core.cache.policies().values()].find(({ builtIn }) => builtIn);
  if (!basePolicy) return undefined;
  const { token } = await tokens.create(
    { actor: MANAGER_ACTOR, scope: Scope.all },
    {
      policyId: basePolicy.id,
      kind: undefined,
      uses: USES,
      expiresInSeconds: LIFETIME_SECONDS,
      labels: {},
      ratePerSecond: null,
      computerId: null,
    },
  );
  writeDurably(path, `${token}\n`);
  return path;
}

/** The file's token is still there, not used up and not expired. */
async function isUsable(path: string, { sql, fleetClock }: Storage): Promise<boolean> {
  const token = readToken(path);
  if (!token) return false;
  const [row] = await sql.query(
    `SELECT enrollment_tokens.id FROM enrollment_tokens WHERE enrollment_tokens.token_hash = $1
     AND enrollment_tokens.used < enrollment_tokens.uses AND enrollment_tokens.expires_at > $2`,
    [hashEnrollmentSecret(token.secret), toRfc3339(fleetClock.trustedTime())],
  );
  return row !== undefined;
}

function readToken(path: string): ReturnType<typeof parseEnrollmentToken> {
  try {
    return parseEnrollmentToken(readFileSync(path, 'utf8'));
  } catch {
    return undefined;
  }
}
