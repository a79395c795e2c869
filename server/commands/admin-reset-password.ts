import { userInfo } from 'node:os';
import { Problem } from '../../lib/problem.js';
import { MANAGER_ACTOR, type Actor } from '../access/actor.js';
import { composeUsers } from '../admin-api/compose-admin-api.js';
import { createAuditLog } from '../audit/index.js';
import { createDataSource, createPool } from '../database/data-source.js';
import { createUnitOfWork } from '../database/in-transaction.js';
import { sqlOfClient, sqlOfManager } from '../database/sql.js';
import { dropSecondFactor } from '../second-factors/index.js';
import { CommandFailed, EXIT, UsageError, type Command } from './command.js';
import { openLocalDatabase, refuseUnreachable, runLocally, type LocalDatabaseOptions } from './local-database.js';

export const ADMIN_RESET_PASSWORD: Command = {
  name: 'admin reset-password',
  parameters: 'NAME [--remove-second-factor]',
  summary:
    'gives a user a new random password, which he has to change, and ends his sessions, also while the manager runs',
  run: resetPassword,
};

const REMOVE = '--remove-second-factor';

async function resetPassword(words: readonly string[]): Promise<number> {
  const removes = words.includes(REMOVE);
  const [name, ...more] = words.filter((word) => word !== REMOVE);
  if (name === undefined || more.length > 0) throw new UsageError("admin reset-password takes one user's name");
  try {
    await runLocally((options) => resetIn(options, name, removes));
    return EXIT.ok;
  } catch (error) {
    throw error instanceof Problem ? new CommandFailed(reasonOf(error)) : error;
  }
}

async function resetIn(options: LocalDatabaseOptions, name: string, removes: boolean): Promise<void> {
  const { firstAdministrator, resetPasswords, removeSecondFactor } = await openUsers(options);
  const { user, password } = await firstAdministrator.resetPassword(name, shellActor());
  const had = removes && (await removeSecondFactor(user.id)) === 'on';
  if (had) tell(`${user.name} has no second factor any more.`);
  else if (user.hasSecondFactor) tell(`${user.name} still needs a code of the second factor; ${REMOVE} takes it away.`);
  if (process.stdout.isTTY) return tell(`The new password of ${user.name}, shown this once: ${password}`);
  const path = resetPasswords.write(user, password);
  tell(`The new password of ${user.name} is in ${path} until it is changed.`);
}

async function openUsers(options: LocalDatabaseOptions) {
  const { config, edges, cleanup } = options;
  const connection = await openLocalDatabase(options);
  const shared = { connection, applicationName: 'wardbeat-command', poolSize: 1, log: edges.log };
  const pool = createPool(shared);
  cleanup.push('connection', () => pool.end());
  const dataSource = createDataSource({ ...shared, entities: [] });
  await dataSource.initialize().catch(refuseUnreachable);
  cleanup.push('transactions', () => dataSource.destroy());
  const sql = sqlOfClient(pool);
  const [found] = await sql.query<{ there: boolean }>(`SELECT to_regclass('public.users') IS NOT NULL AS there`);
  if (!found?.there) throw new CommandFailed('The database has no tables yet: start the manager once.');
  const inTransaction = createUnitOfWork(dataSource, edges);
  const audit = createAuditLog(edges);
  const removeSecondFactor = (userId: string) =>
    inTransaction((manager) => dropSecondFactor(audit, sqlOfManager(manager), { actor: shellActor(), userId }));
  return { ...composeUsers({ ...edges, inTransaction, sql, audit, dataDir: config.dataDir }), removeSecondFactor };
}

/** Who the audit log names: no user of Wardbeat, but one of this machine. */
function shellActor(): Actor {
  return { ...MANAGER_ACTOR, id: 'shell', name: `shell of ${systemUser()}` };
}

function systemUser(): string {
  try {
    return userInfo().username;
  } catch {
    return `user ${process.getuid?.() ?? 'unknown'}`;
  }
}

function reasonOf({ code, message, cause }: Problem): string {
  return code === 'unavailable' && cause instanceof Error ? `${message} (${cause.message})` : message;
}

function tell(text: string): void {
  process.stdout.write(`${text}\n`);
}
