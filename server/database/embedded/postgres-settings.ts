/** Roles and database of the embedded server. The superuser exists for the set-up only and can never log in. */
export const SUPERUSER = 'wardbeat_superuser';
export const OWNER_ROLE = 'wardbeat_owner';
export const APP_ROLE = 'wardbeat_app';
export const DATABASE_NAME = 'wardbeat';

/** Modest on a machine shared with the manager, and made for one hot table that is rewritten in place. */
const SETTINGS: Readonly<Record<string, string>> = {
  max_connections: '50',
  superuser_reserved_connections: '0',
  shared_buffers: '256MB',
  effective_cache_size: '2GB',
  work_mem: '8MB',
  maintenance_work_mem: '128MB',
  max_parallel_workers_per_gather: '0',
  jit: 'off',
  random_page_cost: '1.1',
  synchronous_commit: 'on',
  wal_level: 'replica',
  max_wal_senders: '0',
  wal_compression: 'on',
  wal_buffers: '16MB',
  min_wal_size: '256MB',
  max_wal_size: '2GB',
  checkpoint_timeout: '15min',
  checkpoint_completion_target: '0.9',
  autovacuum_naptime: '15s',
  autovacuum_vacuum_scale_factor: '0.1',
  autovacuum_vacuum_cost_limit: '2000',
  allow_alter_system: 'off',
  password_encryption: 'scram-sha-256',
  timezone: 'UTC',
  log_timezone: 'UTC',
  log_destination: 'stderr',
  logging_collector: 'off',
  log_line_prefix: '',
  log_checkpoints: 'off',
  log_min_messages: 'warning',
  // A statement may carry a secret: errors are logged without it.
  log_min_error_statement: 'panic',
  log_error_verbosity: 'terse',
};

/** postgresql.conf, with `overrides` laid over our settings and an operator's `local.conf` over both. */
export function renderSettings(overrides: Readonly<Record<string, string>> = {}): string {
  const lines = Object.entries({ ...SETTINGS, ...overrides }).map(([name, value]) => `${name} = '${quote(value)}'`);
  return ['# Written at every start. Put settings of your own into local.conf beside it.', ...lines, LOCAL, ''].join(
    '\n',
  );
}

const LOCAL = `include_if_exists = 'local.conf'`;

function quote(value: string): string {
  return value.replaceAll("'", "''");
}

/** pg_hba.conf for service: the two roles by password, and nobody else; no superuser. */
export function renderAccess(databases: 'own' | 'all'): string {
  const database = databases === 'all' ? 'all' : DATABASE_NAME;
  return `local ${database} ${OWNER_ROLE},${APP_ROLE} scram-sha-256\nlocal all all reject\n`;
}

/** pg_hba.conf for the moments in which roles are made: the superuser alone, behind a socket only we can reach. */
export function renderMaintenanceAccess(): string {
  return `local all ${SUPERUSER} trust\nlocal all all reject\n`;
}
