import type { Clock } from '../../lib/clock.js';
import type { Log } from '../../lib/log.js';
import { LOG_BEGINNING, readClusterId, type CommitPosition } from '../database/commit-order.js';
import type { Sql } from '../database/sql.js';
import type { ClaimedJob } from '../scheduler/claimed-job.js';
import { renderCheckpoint, SEAL_FORMAT, sealRow, toHashedInstant } from './seal-rules.js';
import type { Checkpoint, Look, Seal, Sealing, SealedRow } from './seal-rules.js';
import { findLastSeal, insertSeals, positionOf, readProgress, readUnsealed } from './seal-repository.js';
import { CLOCK_TOLERANCE_MS, evidenceOf, isSetBack, outOfTime } from './seal-time-rules.js';

export interface AuditSealerDeps {
  /** One of all managers seals at a time. */
  readonly job: ClaimedJob;
  /** Reads outside a transaction. */
  readonly sql: Sql;
  readonly clock: Pick<Clock, 'wall' | 'monotonic'>;
  readonly log: Log;
  /** Rows per transaction. */
  readonly batchSize?: number;
  /** Seals between two checkpoints in the log. */
  readonly checkpointEvery?: number;
}

export interface AuditSealer {
  /** Seals every committed row that waits; does nothing, and claims nothing, when none does. */
  run(signal: AbortSignal): Promise<void>;
  /** Seals what waits, writes the last checkpoint and gives the job back. */
  close(): Promise<void>;
}

const BATCH = 500;
const CHECKPOINT_EVERY = 1000;
/** Where little happens, what is new still gets a checkpoint this often. */
const CHECKPOINT_EVERY_MS = 3_600_000;

export function createAuditSealer(deps: AuditSealerDeps): AuditSealer {
  return new Sealer(deps);
}

/** A look of this process, by its clocks. */
interface OwnLook extends Omit<Look, 'at'> {
  readonly cluster: string;
  readonly wall: number;
  readonly monotonic: number;
}

class Sealer implements AuditSealer {
  readonly #deps: AuditSealerDeps;
  /** The end of the chain as this process knows it; undefined when it has to ask. */
  #position: CommitPosition | undefined;
  #cluster: string | undefined;
  /** The last time at which nothing waited. */
  #look: OwnLook | undefined;
  #end: Checkpoint | undefined;
  #written: Checkpoint = { number: 0, hash: '' };
  #writtenAt = Number.NEGATIVE_INFINITY;

  constructor(deps: AuditSealerDeps) {
    this.#deps = deps;
  }

  async run(signal: AbortSignal): Promise<void> {
    const { job, sql, batchSize = BATCH } = this.#deps;
    while (!signal.aborted && (await this.#isWaiting(sql))) {
      const sealed = await job.run((inside) => this.#sealBatch(inside, batchSize));
      // Another process seals: where the chain ends now only the database knows.
      if (!sealed) this.#position = undefined;
      if (!sealed || sealed.value.length === 0) return;
      this.#tellStrange(sealed.value);
      const last = sealed.value.at(-1)?.seal;
      this.#position = positionOf(last, await this.#clusterId());
      if (last) this.#note({ number: last.number, hash: last.hash.toString('hex') });
    }
  }

  async close(): Promise<void> {
    try {
      await this.run(new AbortController().signal);
    } finally {
      if (this.#end && this.#end.number > this.#written.number) this.#write(this.#end);
      await this.#deps.job.release();
    }
  }

  async #clusterId(): Promise<string> {
    this.#cluster ??= await readClusterId(this.#deps.sql);
    return this.#cluster;
  }

  async #isWaiting(sql: Sql): Promise<boolean> {
    this.#position ??= positionOf(await findLastSeal(sql), await this.#clusterId());
    const after = this.#position;
    const isAtBeginning = after.transactionId === LOG_BEGINNING.transactionId;
    // Asked before the rows are: what is below it has been looked at then.
    const look = await this.#lookAround(sql);
    const { rows } = await readUnsealed(sql, { after, limit: 1 });
    if (rows.length > 0) return true;
    if (isAtBeginning) this.#position = { ...LOG_BEGINNING, transactionId: look.settled };
    this.#look = look;
    return false;
  }

  async #lookAround(sql: Sql): Promise<OwnLook> {
    const { clock } = this.#deps;
    const times = { wall: clock.wall(), monotonic: clock.monotonic() };
    return { ...times, ...(await readProgress(sql)), cluster: await this.#clusterId() };
  }

  /** The caller holds the job's row: nobody else extends the chain meanwhile. */
  async #sealBatch(sql: Sql, limit: number): Promise<SealedPair[]> {
    let last = await findLastSeal(sql);
    const cluster = await readClusterId(sql);
    const { rows } = await readUnsealed(sql, { after: positionOf(last, cluster), limit });
    const sealing = this.#sealing(cluster, last);
    const pairs = rows.map((row): SealedPair => {
      const seal = sealRow(last, row, sealing);
      last = seal;
      return { seal, row };
    });
    if (pairs.length > 0)
      await insertSeals(
        sql,
        pairs.map(({ seal }) => seal),
      );
    return pairs;
  }

  #sealing(cluster: string, last: Seal | undefined): Sealing {
    const { clock } = this.#deps;
    const [wall, monotonic] = [clock.wall(), clock.monotonic()];
    const sealedAt = toHashedInstant(wall);
    if (this.#look?.cluster !== cluster) return { cluster, sealedAt, look: inheritedLook(last, { cluster, sealedAt }) };
    const { settled, next, ...looked } = this.#look;
    const stepped = wall - looked.wall - (monotonic - looked.monotonic);
    // What was written since may bear either time.
    if (Math.abs(stepped) > CLOCK_TOLERANCE_MS) return { cluster, sealedAt, look: null };
    return { cluster, sealedAt, look: { at: toHashedInstant(looked.wall), settled, next } };
  }

  /** The log is out of reach of who owns the database. */
  #tellStrange(pairs: readonly SealedPair[]): void {
    for (const { seal, row } of pairs) {
      const why = outOfTime(row, evidenceOf(seal, row));
      if (why === undefined) continue;
      const facts = { auditId: row.id, seal: seal.number, at: row.at, sealedAt: seal.sealedAt };
      this.#deps.log.warn({ ...facts, why }, 'an audit row is out of its time');
    }
  }

  #note(end: Checkpoint): void {
    this.#end = end;
    const { checkpointEvery = CHECKPOINT_EVERY, clock } = this.#deps;
    const isDue = end.number - this.#written.number >= checkpointEvery;
    if (isDue || clock.monotonic() - this.#writtenAt >= CHECKPOINT_EVERY_MS) this.#write(end);
  }

  #write(end: Checkpoint): void {
    this.#written = end;
    this.#writtenAt = this.#deps.clock.monotonic();
    this.#deps.log.info({ checkpoint: renderCheckpoint(end) }, 'audit checkpoint');
  }
}

interface SealedPair {
  readonly seal: Seal;
  readonly row: SealedRow;
}

/** Before a process has looked itself, what the chain's end knew still holds, unless a clock was set back since. */
function inheritedLook(last: Seal | undefined, { cluster, sealedAt }: Omit<Sealing, 'look'>): Look | null {
  if (last?.cluster !== cluster || last.format !== SEAL_FORMAT) return null;
  return isSetBack(sealedAt, last.sealedAt) ? null : last.look;
}
