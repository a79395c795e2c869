import pg from 'pg';
import type { DatabaseConnection } from './connection.js';

/** A connected client of its own for LISTEN; the caller ends it. */
export async function createNotificationClient(connection: DatabaseConnection): Promise<pg.Client> {
  const client = new pg.Client({ ...connection, application_name: 'wardbeat-notifications', keepAlive: true });
  await client.connect();
  return client;
}
