import pg from 'pg';
import { createPool } from '../../server/database/data-source.js';
import type { DatabaseAddress } from '../../server/database/connection.js';
import type { SimulatedProcess } from './simulated-machine.js';
import { SimulatedPool } from './simulated-pool.js';
import type { Trace } from './trace.js';
import { Turnstile } from './turnstile.js';

export interface Statement {
  readonly text: string;
  readonly values: readonly unknown[];
}

/** Breaks the product on purpose: what a statement, or its answer, is turned into. */
export interface StatementTwist {
  before?(statement: Statement): Statement;
  after?(statement: Statement, rows: unknown[]): unknown[];
}

export type CommitFault = 'stored-unsaid' | 'lost';

export interface DatabaseDeps {
  readonly connection: DatabaseAddress;
  readonly trace: Trace;
  /** Milliseconds until a connection is there, by virtual time. */
  readonly latencyMs: () => number;
  /** Called after each commit with the tables that it wrote. */
  readonly onCommit: (tables: ReadonlySet<string>) => Promise<void>;
  /** A commit failed on purpose. */
  readonly onCommitFault: () => void;
  readonly twist?: StatementTwist | undefined;
}

/** PostgreSQL as one simulated process sees it: statements come one at a time, and it can be away. */
export class SimulatedDatabase {
  readonly deps: DatabaseDeps;
  readonly turnstile = new Turnstile();
  readonly #types: pg.CustomTypesConfig;
  readonly #idle: pg.Client[] = [];
  readonly #all: pg.Client[] = [];
  #isAway = false;
  readonly #breakers = new Set<() => void>();
  /** What becomes of the next commits. */
  readonly commitFaults: CommitFault[] = [];

  constructor(deps: DatabaseDeps) {
    this.deps = deps;
    const { types } = createPool({ connection: deps.connection }).options as { types?: pg.CustomTypesConfig };
    if (!types) throw new Error('The pool has no types of its own');
    this.#types = types;
  }

  get isAway(): boolean {
    return this.#isAway;
  }

  poolOf(process: SimulatedProcess): SimulatedPool {
    return new SimulatedPool(this, process);
  }

  /** Every connection breaks; none is made until `comeBack`. */
  goAway(): void {
    this.#isAway = true;
    for (const breakConnection of this.#breakers) breakConnection();
  }

  comeBack(): void {
    this.#isAway = false;
  }

  onBreak(breakConnection: () => void): () => void {
    this.#breakers.add(breakConnection);
    return () => void this.#breakers.delete(breakConnection);
  }

  /** A real connection; the one that was used last comes first, so that mostly there is only one. */
  async lease(): Promise<pg.Client> {
    const idle = this.#idle.pop();
    if (idle) return idle;
    const client = new pg.Client({ ...this.deps.connection, types: this.#types });
    await client.connect();
    this.#all.push(client);
    return client;
  }

  giveBack(client: pg.Client): void {
    this.#idle.push(client);
  }

  async close(): Promise<void> {
    await Promise.all(this.#all.map((client) => client.end()));
  }
}
