import { execFileSync } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';
import { createSystemClock } from '../../lib/clock.js';
import { createLog } from '../../lib/log.js';
import { createSystemRandom } from '../../lib/random.js';
import { createEmbeddedPostgres } from '../../server/database/embedded-postgres.js';
import { migrate } from '../../server/database/migrate.js';
import { makeDataDir, removeDataDir } from './data-dir.js';

/** One per process: initdb and all migrations take more of a processor than all the rest of a start. */
let made: Promise<string> | undefined;

async function makeCluster(): Promise<string> {
  const dataDir = makeDataDir();
  process.once('exit', () => removeDataDir(dataDir));
  const server = createEmbeddedPostgres({
    dataDir,
    clock: createSystemClock(),
    random: createSystemRandom(),
    log: createLog({ name: 'made-cluster', level: 'error', toStderr: true }),
  });
  const { ownerConnection, appConnection } = await server.start();
  await migrate({ owner: ownerConnection, appRole: appConnection.user });
  await server.stop();
  return dataDir;
}

/**
 * Gives a data directory that is empty or absent the manager's database, migrated and without a row: a manager that
 * starts there makes its keys, its first policy and its administrator itself.
 */
export async function putMadeCluster(dataDir: string): Promise<void> {
  if (existsSync(dataDir) && readdirSync(dataDir).length > 0) return;
  made ??= makeCluster();
  execFileSync('cp', ['--archive', '--reflink=auto', '--no-target-directory', await made, dataDir]);
}
