import { CreateTables0000000000001 } from './0001-create-tables.js';
import { IndexMarkedComputers0000000000004 } from './0004-index-marked-computers.js';
import { PartitionFunctions0000000000002 } from './0002-partition-functions.js';

/** Every migration, oldest first. */
export const MIGRATIONS = [
  CreateTables0000000000001,
  PartitionFunctions0000000000002,
  IndexMarkedComputers0000000000004,
] as const;
