import type pg from 'pg';
import type { CommitFault, SimulatedDatabase, Statement } from './simulated-database.js';
import type { SimulatedProcess } from './simulated-machine.js';
import type { Client } from './turnstile.js';

type Answer = pg.QueryResult<pg.QueryResultRow>;
type Callback = (error: unknown, answer?: Answer) => void;
type Query = string | { readonly name?: string; readonly text: string; readonly values?: unknown[] };

const WRITES = /\b(?:INSERT INTO|UPDATE|DELETE FROM)\s+"?([a-z_]+)"?/gi;

function refused(): Error {
  return Object.assign(new Error('connect ECONNREFUSED'), { code: 'ECONNREFUSED' });
}

function terminated(): Error {
  return new Error('Connection terminated unexpectedly');
}

/** The part of `pg.Pool` that the product uses, for one process. */
export class SimulatedPool {
  readonly #database: SimulatedDatabase;
  readonly #process: SimulatedProcess;
  /** Statements until the process is killed between two of them. */
  killAfterStatements = Number.POSITIVE_INFINITY;

  constructor(database: SimulatedDatabase, process: SimulatedProcess) {
    this.#database = database;
    this.#process = process;
  }

  async connect(): Promise<SimulatedClient> {
    const latencyMs = this.#database.deps.latencyMs();
    if (latencyMs > 0) await this.#process.clock.sleep(latencyMs);
    const client = new SimulatedClient(this.#database, this.#process, this);
    await client.open();
    return client;
  }

  async query(query: Query, values: unknown[] = []): Promise<Answer> {
    const client = await this.connect();
    try {
      return await client.query(query, values);
    } finally {
      client.release();
    }
  }

  /** One more statement is done; the process may end with it. */
  countStatement(): void {
    this.killAfterStatements -= 1;
    if (this.killAfterStatements > 0) return;
    this.killAfterStatements = Number.POSITIVE_INFINITY;
    this.#process.kill();
  }
}

/** One connection of the pool. */
export class SimulatedClient implements Client {
  readonly #database: SimulatedDatabase;
  readonly #process: SimulatedProcess;
  readonly #pool: SimulatedPool;
  #real: pg.Client | undefined;
  #isBroken = false;
  #written = new Set<string>();
  isOpen = false;

  constructor(database: SimulatedDatabase, process: SimulatedProcess, pool: SimulatedPool) {
    this.#database = database;
    this.#process = process;
    this.#pool = pool;
  }

  /** Takes a real connection in its turn, so that which one it is does not depend on time. */
  async open(): Promise<void> {
    if (this.#database.isAway) throw refused();
    const watches = [this.#database.onBreak(() => this.#cutOff()), this.#process.onDeath(() => this.#cutOff())];
    this.#forget = () => {
      for (const forget of watches) forget();
    };
    await this.#process.whileAlive(
      this.#database.turnstile.enter(undefined, async () => {
        if (!this.#process.isDead) this.#real = await this.#database.lease();
      }),
    );
  }

  #forget: () => void = () => undefined;

  query(query: Query, values?: unknown[] | Callback, callback?: Callback): Promise<Answer> {
    const given = typeof values === 'function' ? values : callback;
    const config = typeof query === 'string' ? { text: query } : query;
    const parameters = (Array.isArray(values) ? values : typeof query === 'string' ? undefined : query.values) ?? [];
    const answer = this.#process.whileAlive(this.#run(config, parameters));
    if (given) answer.then((result) => given(null, result), given);
    return answer;
  }

  on(): this {
    return this;
  }

  off(): this {
    return this;
  }

  removeListener(): this {
    return this;
  }

  release(): void {
    const real = this.#real;
    if (!real) return;
    this.#forget();
    this.#real = undefined;
    if (this.isOpen) this.#rollBack(real);
    else this.#database.giveBack(real);
  }

  async #run(config: { readonly name?: string; readonly text: string }, values: readonly unknown[]): Promise<Answer> {
    if (this.#isBroken || this.#database.isAway) throw terminated();
    const { twist } = this.#database.deps;
    const plain = { text: config.text, values };
    const statement = twist?.before?.(plain) ?? plain;
    const outcome = await this.#database.turnstile.enter(this, () => this.#send(config.name, statement));
    if (twist?.after) outcome.rows = twist.after(plain, outcome.rows) as pg.QueryResultRow[];
    return outcome;
  }

  async #send(name: string | undefined, { text, values }: Statement): Promise<Answer> {
    const real = this.#real;
    if (!real || this.#isBroken || this.#database.isAway) throw terminated();
    if (text === 'COMMIT') return this.#commit(real, this.#database.commitFaults.shift());
    const prepared = name === undefined ? {} : { name };
    try {
      const answer = await real.query({ ...prepared, text, values: [...values] });
      this.#follow(text);
      this.#database.deps.trace.note(`sql ${text.slice(0, 48).replaceAll(/\s+/g, ' ')} ${answer.rowCount}`);
      if (!this.isOpen) await this.#tellWritten();
      return answer;
    } finally {
      this.#pool.countStatement();
    }
  }

  async #commit(real: pg.Client, fault: CommitFault | undefined): Promise<Answer> {
    const { trace } = this.#database.deps;
    this.#end();
    const answer = await real.query(fault === 'lost' ? 'ROLLBACK' : 'COMMIT');
    trace.note(`commit ${fault ?? ''} ${[...this.#written].join(',')}`);
    if (fault === 'lost') this.#written.clear();
    await this.#tellWritten();
    this.#pool.countStatement();
    if (fault === undefined) return answer;
    this.#database.deps.onCommitFault();
    this.#isBroken = true;
    throw terminated();
  }

  async #tellWritten(): Promise<void> {
    const written = this.#written;
    this.#written = new Set();
    if (written.size > 0) await this.#database.deps.onCommit(written);
  }

  #follow(text: string): void {
    const command = text.trimStart().slice(0, 8).toUpperCase();
    if (command.startsWith('BEGIN') || command.startsWith('START TR')) {
      this.isOpen = true;
      this.#database.turnstile.begun(this);
    } else if (command === 'ROLLBACK') {
      this.#written.clear();
      this.#end();
    } else for (const [, table = ''] of text.matchAll(WRITES)) this.#written.add(table.toLowerCase());
  }

  #end(): void {
    this.isOpen = false;
    this.#database.turnstile.ended(this);
  }

  /** The server ends its transaction; whoever waits for an answer of a live process is told. */
  #cutOff(): void {
    this.#isBroken = true;
    this.#written.clear();
    const real = this.#real;
    this.#database.turnstile.ended(this, { isCutOff: this.#process.isDead });
    if (!this.#process.isDead || !real) return;
    this.#real = undefined;
    this.#forget();
    this.#rollBack(real);
  }

  #rollBack(real: pg.Client): void {
    this.isOpen = false;
    this.#database.turnstile.ended(this);
    this.#database.turnstile.enterFirst(async () => {
      await real.query('ROLLBACK');
      this.#database.giveBack(real);
    });
  }
}
