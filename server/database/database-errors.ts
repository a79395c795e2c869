/** SQLSTATEs (PostgreSQL, appendix A) after which the same transaction may succeed when it is run again. */
const TRANSIENT_STATES: Readonly<Record<string, string>> = {
  '40001': 'serialization_failure',
  '40P01': 'deadlock_detected',
  '55P03': 'lock_not_available',
  '53300': 'too_many_connections',
  '57P01': 'admin_shutdown',
  '57P02': 'crash_shutdown',
  '57P03': 'cannot_connect_now',
  '25006': 'read_only_sql_transaction: a standby that is being promoted',
};
const CONNECTION_CLASS = '08';

/** States after which a COMMIT has certainly not happened. */
const ROLLED_BACK_STATES: ReadonlySet<string> = new Set(['40001', '40P01', '55P03']);

/** Codes of the socket (errno(3)); ENOENT is the embedded server's socket between two starts. */
const TRANSIENT_SYSTEM_CODES: ReadonlySet<string> = new Set([
  'ECONNREFUSED',
  'ECONNRESET',
  'ENOENT',
  'ENOTFOUND',
  'EAI_AGAIN',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'EPIPE',
  'ETIMEDOUT',
]);

/** `pg` and TypeORM give these no code. The connection was known to be lost, so the statement was never sent. */
const NOT_SENT_MESSAGES: readonly string[] = [
  'timeout exceeded when trying to connect',
  'Client has encountered a connection error',
  'Client was closed and is not queryable',
  'Query runner already released',
];
/** The statement may have been sent. */
const LOST_CONNECTION_MESSAGES: readonly string[] = [
  'Connection terminated',
  'Client network socket disconnected',
  'Query read timeout',
];

interface DriverFields {
  readonly code?: unknown;
  readonly constraint?: unknown;
  readonly message?: unknown;
  readonly driverError?: unknown;
  readonly cause?: unknown;
}

/** The driver's own error inside TypeORM's wrapper or a cause. */
function driverFields(error: unknown): DriverFields {
  if (typeof error !== 'object' || error === null) return {};
  const fields = error as DriverFields;
  if (typeof fields.code === 'string') return fields;
  const inner = fields.driverError ?? fields.cause;
  return inner === undefined ? fields : driverFields(inner);
}

/** The SQLSTATE, or undefined when the error does not come from the server. */
export function sqlStateOf(error: unknown): string | undefined {
  const { code } = driverFields(error);
  return typeof code === 'string' && /^[0-9A-Z]{5}$/.test(code) ? code : undefined;
}

/** True when the database was away, busy or in conflict, so that the same work may succeed later. */
export function isTransientDatabaseError(error: unknown): boolean {
  const state = sqlStateOf(error);
  if (state !== undefined && !TRANSIENT_SYSTEM_CODES.has(state))
    return state in TRANSIENT_STATES || state.startsWith(CONNECTION_CLASS);
  const { code } = driverFields(error);
  if (typeof code === 'string') return TRANSIENT_SYSTEM_CODES.has(code);
  return says(error, [...NOT_SENT_MESSAGES, ...LOST_CONNECTION_MESSAGES]);
}

function says(error: unknown, texts: readonly string[]): boolean {
  const { message } = driverFields(error);
  return typeof message === 'string' && texts.some((text) => message.includes(text));
}

/** True when the error of a COMMIT leaves no doubt that nothing was stored. */
export function isCertainRollback(error: unknown): boolean {
  const state = sqlStateOf(error);
  if (state === undefined || TRANSIENT_SYSTEM_CODES.has(state)) return says(error, NOT_SENT_MESSAGES);
  return ROLLED_BACK_STATES.has(state) || !isTransientDatabaseError(error);
}

/** Nothing can have been sent to a server that was not reached. */
const NOT_REACHED_CODES: ReadonlySet<string> = new Set([
  'ECONNREFUSED',
  'ENOENT',
  'ENOTFOUND',
  'EAI_AGAIN',
  'EHOSTUNREACH',
  'ENETUNREACH',
]);

/** True when a single statement, outside of any transaction, has certainly changed nothing. */
export function isCertainlyNotStored(error: unknown): boolean {
  const { code } = driverFields(error);
  if (typeof code === 'string' && TRANSIENT_SYSTEM_CODES.has(code)) return NOT_REACHED_CODES.has(code);
  return sqlStateOf(error) !== undefined || says(error, NOT_SENT_MESSAGES);
}

/**
 * True when the values themselves are refused (class 22, and check, not-null and foreign-key violations of class 23):
 * the same statement will never succeed.
 */
export function isDataError(error: unknown): boolean {
  const state = sqlStateOf(error);
  if (state === undefined) return false;
  return state.startsWith('22') || ['23502', '23503', '23514'].includes(state);
}

/** The name of the unique or exclusion constraint that was violated, if that is what happened. */
export function uniqueViolation(error: unknown): string | undefined {
  const { constraint } = driverFields(error);
  const state = sqlStateOf(error);
  return (state === '23505' || state === '23P01') && typeof constraint === 'string' ? constraint : undefined;
}
