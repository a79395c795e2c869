import { createRequire, syncBuiltinESMExports } from 'node:module';

type Callable = (...args: never[]) => unknown;

interface Forbidden {
  readonly owner: Record<string, Callable>;
  readonly name: string;
  readonly original: Callable;
}

const require = createRequire(import.meta.url);

/**
 * From now on waiting on a real timer throws and is told to `onUse`; the answer undoes it. Immediates stay: they wait
 * for nothing. Node's own sockets use timers that are not these.
 */
export function forbidRealTimers(onUse: (name: string) => void): () => void {
  const places: [Record<string, Callable>, readonly string[]][] = [
    [globalThis as unknown as Record<string, Callable>, ['setTimeout', 'setInterval']],
    [require('node:timers') as Record<string, Callable>, ['setTimeout', 'setInterval']],
    [require('node:timers/promises') as Record<string, Callable>, ['setTimeout', 'setInterval']],
    [AbortSignal as unknown as Record<string, Callable>, ['timeout']],
  ];
  const forbidden = places.flatMap(([owner, names]) => names.map((name) => forbid(owner, name, onUse)));
  syncBuiltinESMExports();
  return () => {
    for (const { owner, name, original } of forbidden) owner[name] = original;
    syncBuiltinESMExports();
  };
}

function forbid(owner: Record<string, Callable>, name: string, onUse: (name: string) => void): Forbidden {
  const original = owner[name];
  if (!original) throw new Error(`There is no ${name} to forbid`);
  owner[name] = () => {
    onUse(name);
    throw new Error(`${name} waits for real time`);
  };
  return { owner, name, original };
}
