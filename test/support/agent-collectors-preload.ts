/**
 * Preloaded into an agent by `NODE_OPTIONS=--import=…`: `DRILL_FILES` names files, each as `<path>=hang` or `<path>=throw`.
 * Whoever reads one of them waits for ever, or is refused.
 */
import fs from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';

const faults = new Map(
  (process.env['DRILL_FILES'] ?? '').split(',').map((entry) => entry.split('=') as [string, 'hang' | 'throw']),
);

type Read = (path: unknown, ...rest: unknown[]) => Promise<unknown>;
const promises = fs.promises as unknown as Record<'readFile' | 'open', Read>;

for (const name of ['readFile', 'open'] as const) {
  const original = promises[name];
  promises[name] = (path, ...rest) => {
    const fault = faults.get(String(path));
    if (fault === 'hang') return new Promise(() => undefined);
    if (fault === 'throw') return Promise.reject(new Error(`${String(path)} is broken`));
    return original.call(fs.promises, path, ...rest);
  };
}
syncBuiltinESMExports();
