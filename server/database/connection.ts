/** How to reach a database as one role: a URL, or the parts that `pg` takes (`host` may be a socket's folder). */
export type DatabaseConnection = DatabaseUrl | DatabaseAddress;

export interface DatabaseUrl {
  readonly connectionString: string;
}

export interface DatabaseAddress {
  readonly host: string;
  readonly port: number;
  readonly user: string;
  readonly password: string;
  readonly database: string;
}

const DEFAULT_PORT = 5432;

/** Where a database listens for TCP; undefined when it is reached by a socket in the file system. */
export function databaseEndpoint(
  connection: DatabaseConnection,
): { readonly host: string; readonly port: number } | undefined {
  if (!('connectionString' in connection)) return isPath(connection.host) ? undefined : connection;
  const url = new URL(connection.connectionString);
  const host = decodeURIComponent(url.searchParams.get('host') ?? url.hostname).replace(/^\[(.*)\]$/, '$1');
  if (host === '' || isPath(host)) return undefined;
  const port = Number(url.searchParams.get('port') ?? url.port);
  return { host, port: port === 0 ? DEFAULT_PORT : port };
}

function isPath(host: string): boolean {
  return host.startsWith('/');
}
