/**
 * Preloaded into an agent by `NODE_OPTIONS=--import=…`: `DRILL_FILES` names files, each as `<path>=hang`, `<path>=throw` or
 * `<path>=<other path>`. Whoever reads one of them waits for ever, is refused, or reads the other file.
 */
import fs from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';

const faults = new Map(
  (process.env['DRILL_FILES'] ?? '').split(',').map((entry) => entry.split('=') as [string, string]),
);

type Read = (path: unknown, ...rest: unknown[]) => Promise<unknown>;
const promises = fs.promises as unknown as Record<'readFile' | 'open' | 'stat', Read>;

for (const name of ['readFile', 'open'] as const) {
  const original = promises[name];
  promises[name] = (path, ...rest) => {
    const fault = faults.get(String(path));
    if (fault === 'hang') return new Promise(() => undefined);
    if (fault === 'throw') return Promise.reject(new Error(`${String(path)} is broken`));
    return original.call(fs.promises, fault ?? path, ...rest);
  };
}
const { stat } = promises;
promises.stat = (path, ...rest) => {
  const fault = faults.get(String(path));
  return stat.call(fs.promises, fault?.startsWith('/') ? fault : path, ...rest);
};
syncBuiltinESMExports();
