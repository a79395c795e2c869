import { expect } from 'chai';
import { createHash } from 'node:crypto';
import { Duplex, PassThrough } from 'node:stream';
import type { TLSSocket } from 'node:tls';

import { routeKey } from '../../../agent/transport/route-rules.js';
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

/** A connection on which a manager upgrades once the test says so. */
function upgradingSocket(): { readonly verified: VerifiedSocket; upgrade(): void } {
  let request = '';
  const socket = new Duplex({
    read: () => undefined,
    write(chunk: Buffer, _encoding, done) {
      request += chunk.toString('latin1');
      done();
    },
  });
  const upgrade = (): void => {
    const [, key = ''] = /^sec-websocket-key: *(.+)\r$/im.exec(request) ?? [];
    const accept = createHash('sha1').update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest('base64');
    const lines = ['HTTP/1.1 101 Switching Protocols', 'Upgrade: websocket', 'Connection: Upgrade'];
    lines.push(`Sec-WebSocket-Accept: ${accept}`, 'Sec-WebSocket-Protocol: wardbeat.v1', '', '');
    socket.push(lines.join('\r\n'));
  };
  const verified = { ...deadSocket(), socket: socket as unknown as TLSSocket, route: routeKey(ROUTE) };
  return { verified, upgrade };
}

interface Ways {
  readonly connect: () => Promise<ManagerConnection>;
  readonly open: () => Promise<VerifiedSocket>;
}

function makeTransport(ways: Ways) {
  const clock = new FakeClock();
  const asked: number[] = [];
  const transport = new HeldTransport({
    clock,
    random: createSystemRandom(),
    log: createLog({ name: 'test', level: 'silent' }),
    https: { ...ways, rebuild: () => undefined },
    settings: () => SETTINGS,
    routes: () => ({ inForce: ROUTE }),
    dialsByItself: () => true,
    onWake: () => Promise.resolve(),
    onLost: (returnInMs) => asked.push(returnInMs),
  });
  return { clock, asked, transport, signal: new AbortController().signal };
}

describe('the way of an agent that is to hold a channel', () => {
  it('asks again for the exchange that is to open one, where another took its place before its time', async () => {
    const connection: ManagerConnection = {
      managerUrl: 'https://m:4120',
      carrier: { kind: 'dial' },
      warning: undefined,
      post: () => Promise.resolve({}),
      close: () => undefined,
    };
    const ways = { connect: () => Promise.resolve(connection), open: () => Promise.resolve(deadSocket()) };
    const { clock, asked, transport, signal } = makeTransport(ways);
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

  for (const { when, stays } of [
    { when: 'before its upgrade', stays: true },
    { when: 'during its upgrade', stays: false },
    { when: 'after its upgrade', stays: false },
  ])
    it(`${stays ? 'keeps' : 'ends'} a channel after a renewal ${when}`, async () => {
      const { verified, upgrade } = upgradingSocket();
      const connect = () => Promise.reject(new Error('Nothing goes by HTTPS here'));
      const { transport, signal } = makeTransport({ connect, open: () => Promise.resolve(verified) });
      if (when === 'before its upgrade') transport.renew();
      const connecting = transport.connect(10_000, signal);
      await new Promise((resolve) => setImmediate(resolve));
      if (when === 'during its upgrade') transport.renew();
      upgrade();
      await connecting;
      expect(transport.status.state).to.equal('open');
      if (when === 'after its upgrade') transport.renew();
      transport.review();
      expect(transport.status.state).to.equal(stays ? 'open' : 'closed');
      transport.rebuild();
    });
});
