import { CreateTables0000000000001 } from './0001-create-tables.js';
import { PartitionFunctions0000000000002 } from './0002-partition-functions.js';
import { History0000000000003 } from './0003-history.js';
import { IndexMarkedComputers0000000000004 } from './0004-index-marked-computers.js';
import { CreateAuthority0000000000006 } from './0006-authority.js';
import { SealCluster0000000000007 } from './0007-seal-cluster.js';
import { PartitionsInTurn0000000000008 } from './0008-partitions-in-turn.js';
import { Dials0000000000009 } from './0009-dials.js';
import { IndexDialled0000000000010 } from './0010-index-dialled.js';
import { SeenWays0000000000011 } from './0011-seen-ways.js';
import { Clocks0000000000012 } from './0012-clocks.js';
import { SealFormat0000000000013 } from './0013-seal-format.js';
import { Farewells0000000000014 } from './0014-farewells.js';
import { CalmAlerts0000000000015 } from './0015-calm-alerts.js';
import { IndexNoticed0000000000017 } from './0017-index-noticed.js';
import { Maintenance0000000000018 } from './0018-maintenance.js';
import { Notifications0000000000019 } from './0019-notifications.js';
import { Diagnosis0000000000020 } from './0020-diagnosis.js';
import { KeptNames0000000000022 } from './0022-kept-names.js';
import { Channels0000000000023 } from './0023-channels.js';
import { Commands0000000000024 } from './0024-commands.js';
import { Firewall0000000000025 } from './0025-firewall.js';
import { Telemetry0000000000026 } from './0026-telemetry.js';
import { Spools0000000000027 } from './0027-spools.js';
import { CountTargets0000000000028 } from './0028-count-targets.js';
import { Renewal0000000000030 } from './0030-renewal.js';
import { Scopes0000000000032 } from './0032-scopes.js';
import { Access0000000000033 } from './0033-access.js';

/** Every migration, oldest first. */
export const MIGRATIONS = [
  CreateTables0000000000001,
  PartitionFunctions0000000000002,
  History0000000000003,
  IndexMarkedComputers0000000000004,
  CreateAuthority0000000000006,
  SealCluster0000000000007,
  PartitionsInTurn0000000000008,
  Dials0000000000009,
  IndexDialled0000000000010,
  SeenWays0000000000011,
  Clocks0000000000012,
  SealFormat0000000000013,
  Farewells0000000000014,
  CalmAlerts0000000000015,
  IndexNoticed0000000000017,
  Maintenance0000000000018,
  Notifications0000000000019,
  Diagnosis0000000000020,
  KeptNames0000000000022,
  Channels0000000000023,
  Commands0000000000024,
  Firewall0000000000025,
  Telemetry0000000000026,
  Spools0000000000027,
  CountTargets0000000000028,
  Renewal0000000000030,
  Scopes0000000000032,
  Access0000000000033,
] as const;
