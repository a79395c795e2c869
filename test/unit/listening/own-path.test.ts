import { expect } from 'chai';
import type { ProcessorTime } from '../../../lib/processor-wait.js';
import { createOwnPath } from '../../../server/listening/own-path.js';
import type { DialReport } from '../../../server/listening/self-dialler.js';

const TARGET = { host: '127.0.0.1', port: 4120 };
const never = () => new Promise<never>(() => undefined);

interface Given {
  readonly report?: Partial<DialReport>;
  /** How much later this thread hears of the dial. */
  readonly behindMs?: number;
  readonly query?: () => Promise<never[]>;
  /** What this thread ran and waited for a processor meanwhile. */
  readonly processor?: ProcessorTime;
}

function pathOf({ report = {}, behindMs = 0, query = async () => [], processor }: Given) {
  let now = 0;
  const looks: (ProcessorTime | undefined)[] = [processor && { ranMs: 0, waitedMs: 0 }, processor];
  return createOwnPath({
    dialler: {
      async dial() {
        const told = { fault: null, tookMs: 5, isVoid: false, ...report };
        now += told.tookMs + behindMs;
        return told;
      },
    },
    port: () => TARGET,
    sql: { query } as never,
    clock: { boot: () => now, monotonic: () => now, sleep: () => (query === never ? Promise.resolve() : never()) },
    processorTime: () => looks.shift(),
  });
}

describe('a look at the own path', () => {
  const starved = { ranMs: 100, waitedMs: 4000 };
  const busy = { ranMs: 4000, waitedMs: 300 };
  const timeout = { fault: 'handshake timeout', tookMs: 5000 };
  const rows: readonly (readonly [string, Given, string | null | undefined])[] = [
    ['all of it works', {}, null],
    ['nobody listens', { report: { fault: 'connect ECONNREFUSED' } }, 'agent port: connect ECONNREFUSED'],
    ['nobody answers', { report: timeout }, 'agent port: handshake timeout'],
    [
      'nobody answers while this thread is at work',
      { report: timeout, processor: busy },
      'agent port: handshake timeout',
    ],
    ['nobody answers while this thread has no processor', { report: timeout, processor: starved }, undefined],
    [
      'nobody listens while this thread has no processor',
      { report: { fault: 'connect ECONNREFUSED' }, processor: starved },
      'agent port: connect ECONNREFUSED',
    ],
    ['the thread that looks did not run', { report: { ...timeout, isVoid: true } }, undefined],
    ['there is no thread that looks', { report: { fault: 'no thread to dial from', isVoid: true } }, undefined],
    ['the event loop is behind', { behindMs: 3000 }, 'event loop: 3000 ms behind'],
    ['the event loop is behind for want of a processor', { behindMs: 3000, processor: starved }, undefined],
    ['the database fails', { query: () => Promise.reject(new Error('away')) }, 'database: failed'],
    [
      'the database fails while nothing can be told of the port',
      { report: { ...timeout, isVoid: true }, query: () => Promise.reject(new Error('away')) },
      'database: failed',
    ],
    ['the database does not answer', { query: never }, 'database: no answer'],
    ['the database does not answer a thread without a processor', { query: never, processor: starved }, undefined],
  ];
  for (const [name, given, expected] of rows)
    it(`${expected === undefined ? 'tells nothing' : expected === null ? 'finds no fault' : 'finds a fault'} where ${name}`, async () => {
      expect(await pathOf(given).check()).to.equal(expected);
    });
});
