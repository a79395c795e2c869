import { ExpectedFailure } from '../../lib/expected-failure.js';
import { toRfc3339, type Clock } from '../../lib/clock.js';
import type { Sql } from '../database/sql.js';

export interface KnownAuthorityDeps {
  readonly sql: Sql;
  readonly clock: Pick<Clock, 'wall'>;
  /** The folder that is to hold the keys. */
  readonly keyFolder: string;
}

/**
 * Throws ExpectedFailure where the database's computers trust another authority than the folder holds, or the folder
 * holds none: a new one would be trusted by none of them. To be called before anything is made in the folder.
 */
export async function assertKnownAuthority(deps: KnownAuthorityDeps, found: string | undefined): Promise<void> {
  const wanted = await readAuthority(deps.sql);
  if (wanted !== undefined && wanted !== found) throw refusal(deps.keyFolder, wanted, found);
}

/** Keeps the first authority that was opened on this database; throws where another manager was first. */
export async function recordAuthority(deps: KnownAuthorityDeps, opened: string): Promise<void> {
  await deps.sql.query(
    `INSERT INTO authority (id, root_fingerprint, recorded_at) VALUES (1, $1, $2) ON CONFLICT (id) DO NOTHING`,
    [opened, toRfc3339(deps.clock.wall())],
  );
  await assertKnownAuthority(deps, opened);
}

async function readAuthority(sql: Sql): Promise<string | undefined> {
  const [row] = await sql.query<{ root_fingerprint: string }>(
    'SELECT authority.root_fingerprint FROM authority WHERE authority.id = 1',
  );
  return row?.root_fingerprint;
}

function refusal(keyFolder: string, wanted: string, found: string | undefined): ExpectedFailure {
  const state = found === undefined ? 'holds none' : `holds another one (${found})`;
  return new ExpectedFailure(
    `The database belongs to the authority with SHA-256 ${wanted}, but ${keyFolder} ${state}: restore root.pem and ` +
      'intermediate.pem (the whole key folder) from the backup, or name the right WARDBEAT_DATA_DIR or DATABASE_URL.',
  );
}
