import { expect } from 'chai';
import type { RequestListener } from 'node:http';
import { connect, type Socket } from 'node:net';
import { createSystemClock } from '../../../lib/clock.js';
import { createLog } from '../../../lib/log.js';
import { ADMIN_TIMEOUTS, createAdminServer, type AdminServer } from '../../../server/admin-api/admin-server.js';
import { AGENT_TIMEOUTS } from '../../../server/agent-channel/agent-server.js';
import { startAgentPort, type AgentPort, type ClientIdentity } from '../../support/agent-port.js';
import { useDatabase } from '../../support/database.js';
import { addComputers, seedForest, steadyReport } from '../../support/ingest-world.js';
import { eventually } from '../../support/poll.js';

const HEARTBEAT = '/agent/v1/heartbeat';
/** What takes 10 s and more in service is let go within these milliseconds here. */
const TIMEOUTS = { handshake: 300, headers: 300, request: 400, keepAlive: 300, silence: 300, idle: 400 };
const HEAD = `POST ${HEARTBEAT} HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n`;

/** Resolves with all that was received when the peer has closed; a byte every now and then keeps the attack going. */
function untilClosed(socket: Socket, drip?: string): Promise<string> {
  let received = '';
  const dripping = drip === undefined ? undefined : setInterval(() => socket.write(drip), 50);
  socket.setEncoding('latin1').on('data', (chunk) => (received += String(chunk)));
  return new Promise((resolve) => {
    const close = (): void => {
      clearInterval(dripping);
      socket.destroy();
      resolve(received);
    };
    socket.on('error', close).on('end', close).on('close', close);
  });
}

/** Writes and never reads: the peer is stuck with what it has to say until it gives up. */
async function neverRead(socket: Socket, text: string): Promise<void> {
  let isCut = false;
  socket.pause();
  socket.on('error', () => (isCut = true)).on('close', () => (isCut = true));
  await eventually('a client that reads nothing is cut', () => {
    if (!isCut && socket.writableLength < 1_000_000) socket.write(text);
    return isCut;
  });
}

describe('connections that are held open', function () {
  this.timeout(30_000);

  it('are given less than ten seconds for a handshake, at most ten for a header, and less than fifteen for a body', () => {
    for (const timeouts of [AGENT_TIMEOUTS, ADMIN_TIMEOUTS]) {
      expect(timeouts.handshake).to.be.lessThan(10_000);
      expect(timeouts.headers).to.be.at.most(10_000);
      expect(timeouts.request).to.be.lessThan(14_000);
    }
    for (const { silence } of [AGENT_TIMEOUTS, ADMIN_TIMEOUTS]) expect(silence).to.be.lessThan(15_000);
    expect(ADMIN_TIMEOUTS.idle).to.be.lessThan(14_000);
  });

  describe('on the agent port', () => {
    const database = useDatabase();
    let port: AgentPort;
    let web1: ClientIdentity;

    before(async () => {
      await seedForest(database.pool);
      port = await startAgentPort(database.pool, {}, { timeouts: TIMEOUTS });
      const [id = ''] = await addComputers(database.pool, 1);
      web1 = port.identityOf(id);
    });
    after(() => port.stop());
    let sequence = 0;
    afterEach('heartbeats are stored as before', async () => {
      const body = { ...steadyReport(Date.now()), sequence: (sequence += 1) };
      expect((await port.post(HEARTBEAT, body, { identity: web1 })).status).to.equal(200);
    });

    it('are closed when TLS never begins', async () => {
      expect(await untilClosed(connect(port.server.port(), '127.0.0.1'))).to.equal('');
    });

    it('are closed when TLS begins and does not end', async () => {
      const socket = connect(port.server.port(), '127.0.0.1');
      socket.write(Buffer.from('16030100fa0100', 'hex'));
      await untilClosed(socket, '\u0000');
    });

    it('are closed when no request comes', async () => {
      await untilClosed(await port.openSocket(web1));
    });

    it('are closed when the header drips', async () => {
      const socket = await port.openSocket(web1);
      socket.write(`${HEAD}X-Slow: `);
      expect(await untilClosed(socket, 'x'))
        .to.match(/^HTTP\/1\.1 408 /)
        .and.include('/problems/request-timeout');
    });

    it('are closed when the body drips', async () => {
      const socket = await port.openSocket(web1);
      socket.write(`${HEAD}Content-Length: 100000\r\n\r\n{`);
      await untilClosed(socket, ' ');
    });

    it('are closed when the body stops', async () => {
      const socket = await port.openSocket(web1);
      socket.write(`${HEAD}Content-Length: 100000\r\n\r\n{`);
      await untilClosed(socket);
    });

    it('are closed when nothing follows an answer', async () => {
      const socket = await port.openSocket(web1);
      socket.write('GET / HTTP/1.1\r\nHost: a\r\n\r\n');
      expect(await untilClosed(socket)).to.match(/^HTTP\/1\.1 404 /);
    });

    it('are closed when nothing but empty lines comes, before a request and after an answer', async () => {
      await untilClosed(await port.openSocket(web1), '\r\n');
      for (const head of ['', 'Expect: 100-continue\r\nContent-Length: 0\r\n']) {
        const socket = await port.openSocket(web1);
        socket.write(`GET / HTTP/1.1\r\nHost: a\r\n${head}\r\n`);
        expect(await untilClosed(socket, '\r\n')).to.match(/^HTTP\/1\.1 404 /);
      }
    });

    it('are closed after a protocol switch is refused, whatever comes then', async () => {
      const socket = await port.openSocket(web1);
      socket.write('CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n');
      const dripping = setInterval(() => socket.write('x'), 50);
      let isGone = false;
      socket.on('error', () => (isGone = true)).on('close', () => (isGone = true));
      await eventually('the connection is cut', () => isGone);
      clearInterval(dripping);
    });

    it('are closed when the answers are not read, though the client goes on sending', async () => {
      const socket = await port.openSocket(web1);
      let isCut = false;
      socket.pause();
      socket.on('error', () => (isCut = true)).on('close', () => (isCut = true));
      await eventually('a client that reads nothing is cut', () => {
        if (isCut) return true;
        socket.write(socket.writableLength < 1_000_000 ? 'GET / HTTP/1.1\r\nHost: a\r\n\r\n'.repeat(200) : '\r\n');
        return false;
      });
    });

    it('are closed when the answers are not read', async () => {
      await neverRead(await port.openSocket(web1), 'GET / HTTP/1.1\r\nHost: a\r\n\r\n'.repeat(2000));
    });
  });

  describe('on the admin port', () => {
    let server: AdminServer;
    let isServed = 0;
    const open = () => connect(Number(new URL(server.url()).port), '127.0.0.1');

    before(async () => {
      server = createAdminServer({
        host: '127.0.0.1',
        port: 0,
        tls: null,
        clock: createSystemClock(),
        log: createLog({ name: 'test', level: 'silent' }),
        timeouts: TIMEOUTS,
        app: (request, response) => {
          isServed += 1;
          request.resume().on('end', () => response.end(Buffer.alloc(64 * 1024)));
        },
      });
      await server.start();
    });
    after(() => server.stop());

    it('are closed when no request comes', async () => {
      await untilClosed(open());
    });

    it('are closed when nothing but empty lines comes, before a request and after an answer', async () => {
      await untilClosed(open(), '\r\n');
      for (const count of [1, 3]) {
        const socket = open();
        socket.write('GET / HTTP/1.1\r\nHost: a\r\n\r\n'.repeat(count));
        expect(await untilClosed(socket, '\r\n')).to.match(/^HTTP\/1\.1 200 /);
      }
    });

    it('are kept while requests go on coming', async () => {
      const socket = open();
      let received = 0;
      let isCut = false;
      socket.on('data', (chunk: Buffer) => (received += chunk.length)).on('close', () => (isCut = true));
      const startedAt = performance.now();
      for (let asked = 1; performance.now() - startedAt < 3 * TIMEOUTS.idle; asked += 1) {
        socket.write('GET / HTTP/1.1\r\nHost: a\r\n\r\n');
        await eventually('the answer is there', () => isCut || received > asked * 64 * 1024);
      }
      expect(isCut).to.equal(false);
      socket.destroy();
    });

    it('are closed at once beyond what one address may hold, until others of it are gone', async () => {
      const options = { host: '127.0.0.1', port: 0, tls: null, clock: createSystemClock() };
      const log = createLog({ name: 'test', level: 'silent' });
      const app: RequestListener = (_request, response) => response.end('hello');
      const small = createAdminServer({ ...options, log, app, maxPerAddress: 2 });
      await small.start();
      const ask = async (socket: Socket): Promise<string> => {
        let said = '';
        let isOver = false;
        socket.on('data', (chunk) => (said += String(chunk)));
        socket.on('error', () => (isOver = true)).on('close', () => (isOver = true));
        socket.write('GET / HTTP/1.1\r\nHost: a\r\n\r\n');
        await eventually('an answer or the end', () => isOver || said.includes('hello'));
        return said.slice(0, 12);
      };
      const knock = () => connect(Number(new URL(small.url()).port), '127.0.0.1');
      const [first, second] = [knock(), knock()];
      expect([await ask(first), await ask(second), await ask(knock())]).to.deep.equal([
        'HTTP/1.1 200',
        'HTTP/1.1 200',
        '',
      ]);
      first.destroy();
      await eventually('there is room again', async () => (await ask(knock())) !== '');
      second.destroy();
      await small.stop();
    });

    it('are closed when header or body drip', async () => {
      for (const head of [
        'GET / HTTP/1.1\r\nHost: a\r\nX: ',
        'POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9999\r\n\r\n',
      ]) {
        const socket = open();
        socket.write(head);
        await untilClosed(socket, 'x');
      }
    });

    it('are closed when the answers are not read, though the client goes on sending', async () => {
      const socket = open();
      let isCut = false;
      socket
        .pause()
        .on('error', () => (isCut = true))
        .on('close', () => (isCut = true));
      socket.write('GET / HTTP/1.1\r\nHost: a\r\n\r\n'.repeat(500));
      await eventually('a client that reads nothing is cut', () => {
        if (!isCut) socket.write('\r\n');
        return isCut;
      });
    });

    it('are closed when the answers are not read, and when nothing follows them', async () => {
      const before = isServed;
      await neverRead(open(), 'GET / HTTP/1.1\r\nHost: a\r\n\r\n'.repeat(1000));
      expect(isServed).to.be.greaterThan(before);
      const idle = open();
      idle.write('GET / HTTP/1.1\r\nHost: a\r\n\r\n');
      expect(await untilClosed(idle)).to.match(/^HTTP\/1\.1 200 /);
    });
  });
});
