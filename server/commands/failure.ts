import { ExpectedFailure } from '../../lib/expected-failure.js';
import { ConfigurationError } from '../config.js';
import { DataDirectoryInUse } from '../data-directory.js';
import { sqlStateOf } from '../database/database-errors.js';
import { CommandFailed, EXIT } from './command.js';

/** What a command that failed says, and its exit code. */
export interface Failure {
  readonly text: string;
  readonly code: number;
}

/** What is up to the operator is told in one line, without a stack; everything else is a bug and shows where it is. */
export function failureOf(error: unknown): Failure {
  if (error instanceof ConfigurationError) return { text: error.message, code: EXIT.usage };
  if (error instanceof DataDirectoryInUse) return { text: error.message, code: EXIT.dataDirectoryInUse };
  if (error instanceof CommandFailed || error instanceof ExpectedFailure)
    return { text: error.message, code: EXIT.failed };
  const expected = databaseFailure(error) ?? systemFailure(error);
  return { text: `wardbeat failed: ${expected ?? stackOf(error)}`, code: EXIT.failed };
}

const SYSTEM_REMEDIES: Readonly<Record<string, string>> = {
  EADDRINUSE:
    'another program has the port; end it, or choose another one with WARDBEAT_ADMIN_PORT or WARDBEAT_AGENT_PORT',
  EADDRNOTAVAIL: 'this machine does not have the address; see WARDBEAT_ADMIN_HOST and WARDBEAT_AGENT_HOST',
  ENOTFOUND: 'the name is not known; see WARDBEAT_ADMIN_HOST, WARDBEAT_AGENT_HOST and DATABASE_URL',
  EACCES: 'give this user the right to it, or choose another path or a port from 1024',
  EPERM: 'give this user the right to it, or choose another path',
  EROFS: 'choose a WARDBEAT_DATA_DIR that can be written',
  ENOSPC: 'make room on the disk',
  ENOTDIR: 'choose a WARDBEAT_DATA_DIR that is a folder',
  EEXIST: 'choose a WARDBEAT_DATA_DIR that is a folder',
  EISDIR: 'a file is expected there',
  ECONNREFUSED: 'nothing listens there; see DATABASE_URL',
  ETIMEDOUT: 'nothing answers there; see DATABASE_URL',
};

function systemFailure(error: unknown): string | undefined {
  const first = error instanceof AggregateError ? (error.errors[0] as unknown) : error;
  if (!(first instanceof Error) || !('syscall' in first)) return undefined;
  const { code } = first as NodeJS.ErrnoException;
  const remedy = code === undefined ? undefined : SYSTEM_REMEDIES[code];
  return remedy === undefined ? undefined : `${first.message}: ${remedy}.`;
}

/** By SQLSTATE: what PostgreSQL refuses before any work of ours, and rights that it does not give. */
const DATABASE_REMEDIES: Readonly<Record<string, string>> = {
  '28000': "see the user in DATABASE_URL and DATABASE_OWNER_URL, and the server's pg_hba.conf",
  '28P01': 'see the password in DATABASE_URL and DATABASE_OWNER_URL',
  '3D000': 'make the database first, or see DATABASE_URL',
  '42501': 'DATABASE_OWNER_URL names the role that may make tables',
  '53300': 'let the server take more connections',
  '57P03': 'the server starts or stops; start the manager again when it is up',
};

function databaseFailure(error: unknown): string | undefined {
  const remedy = DATABASE_REMEDIES[sqlStateOf(error) ?? ''];
  return remedy !== undefined && error instanceof Error ? `The database says: ${error.message}; ${remedy}.` : undefined;
}

function stackOf(error: unknown): string {
  return error instanceof Error ? (error.stack ?? error.message) : String(error);
}
