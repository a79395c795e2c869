import { DataSource } from 'typeorm';
import { composeEntities } from '../../server/compose-entities.js';
import { createPool } from '../../server/database/data-source.js';
import type { SimulationCluster } from './simulation-cluster.js';

interface Connection {
  release(): void;
}

interface ConnectionSource {
  connect(): Promise<Connection>;
}

type Connected = (error: unknown, connection?: Connection, release?: () => void) => void;

/** TypeORM on whatever pool is the present one: its metadata is built once for all seeds. */
export class SimulationOrm {
  #pool: ConnectionSource | undefined;
  readonly dataSource: DataSource;

  constructor() {
    const current = (): ConnectionSource => {
      if (!this.#pool) throw new Error('No process uses the database');
      return this.#pool;
    };
    class Pool {
      on(): this {
        return this;
      }
      connect(connected: Connected): void {
        current()
          .connect()
          .then((connection) => connected(undefined, connection, () => connection.release()), connected);
      }
      end(ended: () => void): void {
        ended();
      }
    }
    this.dataSource = new DataSource({
      type: 'postgres',
      driver: { Pool },
      entities: [...composeEntities()],
      synchronize: false,
      installExtensions: false,
      logging: false,
    });
  }

  /** What begins from now on begins there. */
  use(pool: ConnectionSource): void {
    this.#pool = pool;
  }
}

/** Asks a database of its own what TypeORM wants to know before it works. */
export async function createOrm(cluster: SimulationCluster): Promise<SimulationOrm> {
  const orm = new SimulationOrm();
  const database = await cluster.createDatabase('orm');
  const pool = createPool({ connection: database.app, poolSize: 1 });
  try {
    orm.use(pool);
    await orm.dataSource.initialize();
  } finally {
    await pool.end();
    await database.close();
  }
  return orm;
}
