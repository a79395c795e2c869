import { spawn } from 'node:child_process';

export interface Summary {
  readonly seeds: number;
  readonly heartbeats: number;
  readonly violations: number;
  readonly failingSeeds: readonly number[];
  readonly traceSha256: string;
}

/** Runs the simulation as `npm run simulate` does, without building it again. */
export function simulate(...flags: string[]): Promise<{ code: number | null; summary: Summary; told: string }> {
  const child = spawn(process.execPath, ['dist/scripts/simulate/simulate.js', ...flags], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const said = { out: '', told: '' };
  child.stdout.on('data', (chunk) => (said.out += chunk));
  child.stderr.on('data', (chunk) => (said.told += chunk));
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (code) => {
      const last = said.out.trim().split('\n').at(-1) ?? '';
      resolve({ code, summary: (last === '' ? {} : JSON.parse(last)) as Summary, told: said.told });
    });
  });
}
