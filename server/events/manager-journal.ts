import type { Clock } from '../../lib/clock.js';
import { shareRun, type Lifecycle } from '../../lib/lifecycle.js';
import type { Log } from '../../lib/log.js';
import { createPeriodic } from '../../lib/periodic.js';
import { isDataError } from '../database/database-errors.js';
import type { HotTransaction } from '../database/hot-transaction.js';
import type { Sql } from '../database/sql.js';
import type { FleetClock, FleetInstant } from '../fleet-clock/fleet-clock.js';
import type { EventWriter, ManagerEvent } from './event-writer.js';

/** What the manager has to say about itself. */
export interface ManagerNote {
  readonly kind:
    | 'manager-started'
    | 'manager-stopped'
    | 'migration-applied'
    | 'listening-gap'
    | 'wall-clock-stepped'
    | 'manager-clock-doubted'
    | 'verdict-shards-lost'
    | 'drain-begun'
    | 'drain-ended'
    | 'job-failed'
    | 'job-recovered';
  readonly severity: ManagerEvent['severity'];
  /** A constant sentence; what varies goes into the data. */
  readonly message: string;
  readonly data?: Readonly<Record<string, unknown>>;
  /** Now, unless told. */
  readonly at?: FleetInstant;
}

/** The manager's own events: lane `manager`, no computer; every one names its node. */
export interface ManagerJournal extends Lifecycle {
  /** Remembers a note until it is stored: within a second, or when the database is back. */
  note(note: ManagerNote): void;
  /** Stores a note with the caller's transaction. */
  record(sql: Sql, note: ManagerNote): Promise<void>;
  /** Stores what is remembered. */
  flush(): Promise<void>;
}

export interface ManagerJournalDeps {
  readonly node: string;
  readonly events: Pick<EventWriter, 'appendManagerEvents'>;
  readonly inTransaction: HotTransaction;
  readonly clock: Pick<Clock, 'sleep'> & Pick<FleetClock, 'fleet'>;
  readonly log: Log;
}

const FLUSH_EVERY_MS = 1000;
/** What is remembered while the database is away; the oldest are let go beyond. */
const CAPACITY = 1000;

export function createManagerJournal({ node, events, inTransaction, clock, log }: ManagerJournalDeps): ManagerJournal {
  let waiting: ManagerEvent[] = [];

  const toEvent = ({ kind, severity, message, data, at }: ManagerNote): ManagerEvent => ({
    computerId: null,
    at: at ?? clock.fleet(),
    kind,
    severity,
    message,
    data: { node, ...data },
  });

  const flush = shareRun(async () => {
    const batch = waiting;
    if (batch.length === 0) return;
    waiting = [];
    try {
      await inTransaction((sql) => events.appendManagerEvents(sql, batch), { attempts: 1 });
    } catch (error) {
      // A note that was stored although its commit failed comes twice; none is lost.
      if (!isDataError(error)) waiting = [...batch, ...waiting].slice(-CAPACITY);
      else log.error({ err: error }, 'manager events cannot be stored');
      throw error;
    }
  });

  return {
    note(note) {
      waiting.push(toEvent(note));
      if (waiting.length > CAPACITY) waiting.shift();
    },
    record: (sql, note) => events.appendManagerEvents(sql, [toEvent(note)]),
    flush,
    ...createPeriodic({ clock, everyMs: FLUSH_EVERY_MS, action: flush }),
  };
}
