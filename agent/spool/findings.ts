import { removeDurably, writeDurably } from '../../lib/durable-file.js';
import { readOwnFile } from '../own-files.js';
import type { LogDamage } from './log-damage.js';

/** What had to be done to a database that could not be read. */
export interface Mended {
  readonly reason: string;
  /** The folder that it was renamed to, where it began anew; undefined where what could be read was kept. */
  readonly setAside: string | undefined;
}

/** What was found wrong with the database, and done, when it was opened. */
export interface Finding {
  readonly log?: LogDamage | undefined;
  readonly mended?: Mended | undefined;
}

const MOST = 32;

/**
 * What is to be told of the database, in a file beside it: opening removes what was found, and whoever opens it may be a
 * command that tells nothing, or a process that ends before it can.
 */
export class Findings {
  readonly #file: string;
  #known: readonly Finding[] | undefined;

  constructor(database: string) {
    this.#file = `${database}.findings.json`;
  }

  /** The lock of the database must be held from here on. */
  get untold(): readonly Finding[] {
    this.#known ??= readFindings(this.#file);
    return this.#known;
  }

  add(finding: Finding): void {
    this.#known = [...this.untold, finding].slice(-MOST);
    this.#keep();
  }

  /** Throws as `spool` does: then the rest is told later. */
  async tell(spool: (finding: Finding) => Promise<void>): Promise<void> {
    if (this.untold.length === 0) return;
    try {
      for (let [finding] = this.untold; finding; [finding] = this.untold) {
        await spool(finding);
        this.#known = this.untold.slice(1);
      }
    } finally {
      this.#keep();
    }
  }

  /** On a disk that does not take it only this process knows it; one that was told then may be told once more. */
  #keep(): void {
    try {
      if (this.untold.length > 0) writeDurably(this.#file, JSON.stringify(this.untold));
      else removeDurably(this.#file);
    } catch {}
  }
}

function readFindings(file: string): Finding[] {
  const text = readText(file);
  try {
    return JSON.parse(text) as Finding[];
  } catch {
    // Never silent: something was noted in it.
    return [{ log: { damaged: { bytes: Buffer.byteLength(text), operations: null }, torn: undefined } }];
  }
}

function readText(file: string): string {
  try {
    return readOwnFile(file) ?? '[]';
  } catch {
    return '';
  }
}
