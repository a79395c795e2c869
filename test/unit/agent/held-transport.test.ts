import { expect } from 'chai';
import { PassThrough } from 'node:stream';
import type { TLSSocket } from 'node:tls';

import { HeldTransport } from '../../../agent/transport/held-transport.js';
import type { ManagerConnection, VerifiedSocket } from '../../../agent/transport/tls-connection.js';
import { createLog } from '../../../lib/log.js';
import { createSystemRandom } from '../../../lib/random.js';
import { FakeClock } from '../../support/fake-clock.js';

const SETTINGS = {
  connectionMode: 'held',
  heartbeatIntervalSeconds: 86_400,
  pingIntervalSeconds: 30,
  pongTimeoutSeconds: 10,
} as const;
const ROUTE = { managerUrls: [], proxies: [], fallbackDirect: true };

/** A connection on which an upgrade comes to nothing. */
function deadSocket(): VerifiedSocket {
  const socket = new PassThrough() as unknown as TLSSocket;
  setImmediate(() => socket.destroy());
  const address = { url: 'https://m:4120', host: 'm', port: 4120 };
  return { socket, address, proxy: undefined, route: undefined, warning: undefined };
}

describe('the way of an agent that is to hold a channel', () => {
  it('asks again for the exchange that is to open one, where another took its place before its time', async () => {
    const clock = new FakeClock();
    const asked: number[] = [];
    const connection: ManagerConnection = {
      managerUrl: 'https://m:4120',
      carrier: { kind: 'dial' },
      warning: undefined,
      post: () => Promise.resolve({}),
      close: () => undefined,
    };
    const transport = new HeldTransport({
      clock,
      random: createSystemRandom(),
      log: createLog({ name: 'test', level: 'silent' }),
      https: {
        connect: () => Promise.resolve(connection),
        open: () => Promise.resolve(deadSocket()),
        rebuild: () => undefined,
      },
      settings: () => SETTINGS,
      routes: () => ({ inForce: ROUTE }),
      dialsByItself: () => true,
      onWake: () => Promise.resolve(),
      onLost: (returnInMs) => asked.push(returnInMs),
    });
    const { signal } = new AbortController();
    const refused = await transport.connect(10_000, signal);
    expect(asked).to.have.length(1);
    const due = clock.boot() + asked[0]!;
    refused.close();
    await clock.advance(1000);
    const early = await transport.connect(10_000, signal);
    expect(transport.status.state).to.equal('closed');
    early.close();
    expect(asked.at(-1)).to.be.closeTo(due - clock.boot(), 1);
  });
});
