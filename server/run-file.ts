import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { writeDurably } from '../lib/durable-file.js';

/** `run.json` in the data directory: there while both ports accept. */
export interface RunFacts {
  readonly pid: number;
  readonly adminUrl: string | null;
  readonly agentUrl: string | null;
  readonly caFingerprint: string;
  readonly startedAt: string;
}

export function writeRunFile(dataDir: string, facts: RunFacts): void {
  writeDurably(join(dataDir, 'run.json'), `${JSON.stringify(facts, undefined, 2)}\n`, 0o644);
}

export function removeRunFile(dataDir: string): void {
  rmSync(join(dataDir, 'run.json'), { force: true });
}
