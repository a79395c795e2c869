import { lookup } from 'node:dns/promises';
import { DialFailure } from './dial-failure.js';
import type { Resolve } from './dial-target.js';

export type Lookup = (host: string) => Promise<readonly { readonly address: string }[]>;

/** The system's resolver works in a thread of the pool that files need too: a slow one must not take them all. */
const AT_ONCE = 2;

const systemLookup: Lookup = (host) => lookup(host, { all: true, verbatim: true });

/** Resolves by the system (hosts file included), a few names at a time; the same name is asked for once at a time. */
export function createNameResolver(find: Lookup = systemLookup): Resolve {
  const asked = new Map<string, Promise<readonly string[]>>();
  const waiting: (() => void)[] = [];
  let running = 0;
  const inTurn = async (host: string): Promise<readonly string[]> => {
    if (running >= AT_ONCE) await new Promise<void>((go) => waiting.push(go));
    running += 1;
    try {
      return (await find(host)).map(({ address }) => address);
    } finally {
      running -= 1;
      asked.delete(host);
      waiting.shift()?.();
    }
  };
  return (host, signal) => {
    const answer = asked.get(host) ?? inTurn(host);
    asked.set(host, answer);
    return Promise.race([answer, rejection(signal)]);
  };
}

function rejection(signal: AbortSignal): Promise<never> {
  return new Promise((_resolve, reject) => {
    const fail = (): void => reject(new DialFailure('dns', 'the name was not resolved in time'));
    if (signal.aborted) fail();
    signal.addEventListener('abort', fail, { once: true });
  });
}
