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

/** A connection on which a manager is about to stop. */
function refusingSocket(retryAfterSeconds: number): VerifiedSocket {
  const body = JSON.stringify({ type: '/problems/unavailable', status: 503, detail: 'about to stop' });
  const head = ['HTTP/1.1 503 Service Unavailable', `Retry-After: ${retryAfterSeconds}`];
  head.push(`Content-Length: ${body.length}`, 'Connection: close', '', body);
  const socket = new Duplex({
    read: () => undefined,
    write(_chunk, _encoding, done) {
      done();
      setImmediate(() => socket.push(head.join('\r\n')));
    },
  });
  return { ...deadSocket(), socket: socket as unknown as TLSSocket };
}

interface Ways {
  readonly connect: () => Promise<ManagerConnection>;
  readonly open: () => Promise<VerifiedSocket>;
}

const BY_HTTPS: ManagerConnection = {
  managerUrl: 'https://m:4120',
  carrier: { kind: 'dial' },
  warning: undefined,
  post: () => Promise.resolve({}),
  close: () => undefined,
};

function makeTransport(ways: Ways, heartbeatIntervalSeconds = SETTINGS.heartbeatIntervalSeconds as number) {
  const clock = new FakeClock();
  const asked: number[] = [];
  const transport = new HeldTransport({
    clock,
    random: createSystemRandom(),
    log: createLog({ name: 'test', level: 'silent' }),
    https: { ...ways, rebuild: () => undefined },
    settings: () => ({ ...SETTINGS, heartbeatIntervalSeconds }),
    routes: () => ({ inForce: ROUTE }),
    dialsByItself: () => true,
    onWake: () => Promise.resolve(),
    onLost: (returnInMs) => asked.push(returnInMs),
  });
  return { clock, asked, transport, signal: new AbortController().signal };
}

describe('the way of an agent that is to hold a channel', () => {
  it('asks again for the exchange that is to open one, where another took its place before its time', async () => {
    const ways = { connect: () => Promise.resolve(BY_HTTPS), open: () => Promise.resolve(deadSocket()) };
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

  it('asks again within an interval, however long a manager that stops has it wait', async () => {
    const ways = { connect: () => Promise.resolve(BY_HTTPS), open: () => Promise.resolve(refusingSocket(60)) };
    const { asked, transport, signal } = makeTransport(ways, 12);
    const refused = await transport.connect(10_000, signal);
    expect(transport.status.detail).to.contain('about to stop');
    expect(asked).to.deep.equal([12_000]);
    refused.close();
  });

  it('asks again after an upgrade was turned away, whatever else ends before that time', async () => {
    const former = upgradingSocket();
    const sockets = [former.verified, refusingSocket(60)];
    const ways = { connect: () => Promise.resolve(BY_HTTPS), open: () => Promise.resolve(sockets.shift()!) };
    const { clock, asked, transport, signal } = makeTransport(ways);
    const opening = transport.connect(10_000, signal);
    await new Promise((resolve) => setImmediate(resolve));
    former.upgrade();
    await opening;
    transport.renew();
    transport.review();
    (await transport.connect(10_000, signal)).close();
    const due = clock.boot() + asked.at(-1)!;
    expect(due - clock.boot()).to.be.within(60_000, 90_000);
    former.verified.socket.destroy();
    await new Promise((resolve) => setImmediate(resolve));
    const soon = asked.at(-1)!;
    expect(soon, 'asked for by the end of the former channel').to.be.at.most(10_000);
    await clock.advance(soon);
    (await transport.connect(10_000, signal)).close();
    expect(asked.at(-1)).to.be.closeTo(due - clock.boot(), 1);
    transport.rebuild();
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
