import { silenceWindowMs } from '../../policies/incident-rules.js';
import { createBreather } from '../../lib/breather.js';
import type { Sql } from '../database/sql.js';
import type { FleetClock } from '../fleet-clock/fleet-clock.js';
import type { Status } from '../statuses/status.js';
import type { ProfileInterner } from './profile-interner.js';
import type { Standing } from './silence-memory.js';
import { readShardStandings, readStandings, type StandingRow } from './standing-repository.js';

/** Computers whose silence is meant, of those asked about: a maintenance window. */
export type FindExcused = (sql: Sql, computerIds: readonly string[]) => Promise<ReadonlySet<string>>;

export interface StandingReader {
  /** How these computers stand now; those that do not exist are left out. */
  of(computerIds: readonly string[]): Promise<Standing[]>;
  ofShard(shard: number): Promise<Standing[]>;
}

export interface StandingReaderDeps {
  readonly sql: Sql;
  readonly fleetClock: Pick<FleetClock, 'monotonic'>;
  readonly profiles: ProfileInterner;
  readonly findExcused: FindExcused;
}

/** Of a computer that never confirmed one. */
const INTERVAL_MS = 60_000;
const CHUNK = 2000;
const COUNTED: readonly Status[] = ['online', 'late', 'offline'];

export function createStandingReader({ sql, fleetClock, profiles, findExcused }: StandingReaderDeps): StandingReader {
  const toStandings = async (rows: readonly StandingRow[]): Promise<Standing[]> => {
    const breather = createBreather(fleetClock);
    const silent = rows.filter(isSilent).map((row) => row.computer_id);
    const excused = silent.length === 0 ? new Set<string>() : await findExcused(sql, silent);
    const standings: Standing[] = [];
    for (const row of rows) {
      standings.push(toStanding(row, excused.has(row.computer_id), profiles));
      if (breather.isDue()) await breather.turn();
    }
    return standings;
  };
  return {
    async of(computerIds) {
      const standings: Standing[] = [];
      for (let from = 0; from < computerIds.length; from += CHUNK)
        standings.push(...(await toStandings(await readStandings(sql, computerIds.slice(from, from + CHUNK)))));
      return standings;
    },
    ofShard: async (shard) => toStandings(await readShardStandings(sql, shard)),
  };
}

/** A goodbye excuses nobody; but who restarts as announced is away longer than others until that is over. */
const isSilent = ({ status, is_restarting }: StandingRow): boolean =>
  status === 'offline' || (status === 'late' && !is_restarting);

function toStanding(row: StandingRow, isExcused: boolean, profiles: ProfileInterner): Standing {
  return {
    computerId: row.computer_id,
    isCounted: COUNTED.includes(row.status) && !isExcused,
    isSilent: isSilent(row) && !isExcused,
    isOffline: row.status === 'offline',
    since: row.since_fleet_ms,
    windowMs: silenceWindowMs(row.interval_ms ?? INTERVAL_MS),
    keys: profiles.keysOf(row),
  };
}
