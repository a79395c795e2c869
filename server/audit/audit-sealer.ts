import type { Clock } from '../../lib/clock.js';
import type { Log } from '../../lib/log.js';
import { LOG_BEGINNING, readClusterId, readSettledPosition, type CommitPosition } from '../database/commit-order.js';
import type { Sql } from '../database/sql.js';
import type { ClaimedJob } from '../scheduler/claimed-job.js';
import { FIRST_PREVIOUS_HASH, renderCheckpoint, sealHash, type Checkpoint } from './seal-rules.js';
import { findLastSeal, insertSeals, positionOf, readUnsealed, type Seal } from './seal-repository.js';

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

class Sealer implements AuditSealer {
  readonly #deps: AuditSealerDeps;
  /** The end of the chain as this process knows it; undefined when it has to ask. */
  #position: CommitPosition | undefined;
  #cluster: string | undefined;
  #end: Checkpoint | undefined;
  #written: Checkpoint = { number: 0, hash: '' };
  #writtenAt = Number.NEGATIVE_INFINITY;

  constructor(deps: AuditSealerDeps) {
    this.#deps = deps;
  }

  async run(signal: AbortSignal): Promise<void> {
    const { job, sql, batchSize = BATCH } = this.#deps;
    while (!signal.aborted && (await this.#isWaiting(sql))) {
      const sealed = await job.run((inside) => sealBatch(inside, batchSize, new Date(this.#deps.clock.wall())));
      // Another process seals: where the chain ends now only the database knows.
      if (!sealed) this.#position = undefined;
      if (!sealed || sealed.value.length === 0) return;
      const last = sealed.value.at(-1);
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
    const settled = isAtBeginning ? await readSettledPosition(sql) : after;
    const { rows } = await readUnsealed(sql, { after, limit: 1 });
    if (rows.length === 0) this.#position = settled;
    return rows.length > 0;
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

/** The caller holds the job's row: nobody else extends the chain meanwhile. */
async function sealBatch(sql: Sql, limit: number, sealedAt: Date): Promise<Seal[]> {
  const last = await findLastSeal(sql);
  const cluster = await readClusterId(sql);
  const { rows } = await readUnsealed(sql, { after: positionOf(last, cluster), limit });
  let { number, hash } = last ?? { number: 0, hash: FIRST_PREVIOUS_HASH };
  const seals = rows.map((row): Seal => {
    const previousHash = hash;
    number += 1;
    hash = sealHash(previousHash, row);
    return { number, auditId: row.id, transactionId: row.transaction_id, cluster, previousHash, hash };
  });
  if (seals.length > 0) await insertSeals(sql, seals, sealedAt);
  return seals;
}
