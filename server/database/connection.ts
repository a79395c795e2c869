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
