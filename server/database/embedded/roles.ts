import { createHash, createHmac, pbkdf2Sync } from 'node:crypto';
import { Client } from 'pg';
import type { Random } from '../../../lib/random.js';
import { APP_ROLE, DATABASE_NAME, OWNER_ROLE, SUPERUSER } from './postgres-settings.js';
import { SOCKET_PORT } from './runtime-folder.js';

export interface RolePasswords {
  readonly owner: string;
  readonly app: string;
}

const ITERATIONS = 4096;

/**
 * What PostgreSQL stores for a password by SCRAM-SHA-256 (RFC 5803): computed here, so that no statement carries the
 * password itself. The password must be ASCII (no SASLprep is done).
 */
export function scramVerifier(password: string, salt: Buffer): string {
  const salted = pbkdf2Sync(password, salt, ITERATIONS, 32, 'sha256');
  const sign = (text: string) => createHmac('sha256', salted).update(text).digest();
  const stored = createHash('sha256').update(sign('Client Key')).digest('base64');
  return `SCRAM-SHA-256$${ITERATIONS}:${salt.toString('base64')}$${stored}:${sign('Server Key').toString('base64')}`;
}

export interface RoleOptions {
  readonly socketFolder: string;
  readonly passwords: RolePasswords;
  readonly ownerMayCreateDatabases: boolean;
  readonly random: Random;
}

/** Makes or resets both roles and the database, as the superuser. May be repeated. */
export async function setUpRoles(options: RoleOptions): Promise<void> {
  const client = new Client({
    host: options.socketFolder,
    port: SOCKET_PORT,
    user: SUPERUSER,
    database: 'postgres',
    password: '',
  });
  await client.connect();
  try {
    const attributes = options.ownerMayCreateDatabases ? 'CREATEDB' : 'NOCREATEDB';
    await setUpRole(client, `${OWNER_ROLE} WITH ${attributes}`, verifier(options, options.passwords.owner));
    await setUpRole(client, `${APP_ROLE} WITH NOCREATEDB`, verifier(options, options.passwords.app));
    await client.query(`ALTER ROLE ${SUPERUSER} PASSWORD NULL`);
    await setUpDatabase(client);
  } finally {
    await client.end();
  }
}

function verifier({ random }: RoleOptions, password: string): string {
  return scramVerifier(password, random.bytes(16));
}

async function setUpRole(client: Client, role: string, secret: string): Promise<void> {
  const [name] = role.split(' ');
  const { rowCount } = await client.query('SELECT 1 FROM pg_roles WHERE rolname = $1', [name]);
  const verb = rowCount === 0 ? 'CREATE' : 'ALTER';
  await client.query(
    `${verb} ROLE ${role} LOGIN NOSUPERUSER NOCREATEROLE NOREPLICATION NOBYPASSRLS PASSWORD '${secret}'`,
  );
}

async function setUpDatabase(client: Client): Promise<void> {
  const { rowCount } = await client.query('SELECT 1 FROM pg_database WHERE datname = $1', [DATABASE_NAME]);
  if (rowCount === 0) await client.query(`CREATE DATABASE ${DATABASE_NAME} OWNER ${OWNER_ROLE}`);
  await client.query(`REVOKE ALL ON DATABASE ${DATABASE_NAME} FROM PUBLIC`);
  await client.query(`GRANT CONNECT ON DATABASE ${DATABASE_NAME} TO ${APP_ROLE}`);
}
