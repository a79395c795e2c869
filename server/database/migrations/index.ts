import { CreateTables0000000000001 } from './0001-create-tables.js';
import { PartitionFunctions0000000000002 } from './0002-partition-functions.js';
import { CreateAuthority0000000000006 } from './0006-authority.js';

/** Every migration, oldest first. */
export const MIGRATIONS = [
  CreateTables0000000000001,
  PartitionFunctions0000000000002,
  CreateAuthority0000000000006,
] as const;
