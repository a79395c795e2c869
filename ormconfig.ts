import { join } from 'node:path';
import { DataSource } from 'typeorm';
import { MIGRATIONS } from './server/database/migrations/index.js';

/** For TypeORM's command line only (`typeorm -d dist/ormconfig.js …`); nothing imports it. */
export default new DataSource({
  type: 'postgres',
  url: process.env['DATABASE_OWNER_URL'] ?? process.env['DATABASE_URL'] ?? '',
  entities: [join(import.meta.dirname, 'server/**/*-entity.js')],
  migrations: [...MIGRATIONS],
  migrationsTableName: 'migrations',
  synchronize: false,
  installExtensions: false,
});
