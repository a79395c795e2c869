import { expect } from 'chai';
import { createPrivateKey } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';

import { openAuthority, type CertificateAuthority } from '../../../certs/certificate-authority.js';
import { certificatesOf } from '../../../certs/pem.js';
import type { Daemon } from '../../../agent/daemon.js';
import { dataDirectory, readIdentity } from '../../../agent/data-directory.js';
import { createSystemClock } from '../../../lib/clock.js';
import { createSystemRandom } from '../../../lib/random.js';
import { FakeManager } from '../../support/agent-fake-manager.js';
import { composeInProcess, enrollInProcess } from '../../support/agent-in-process.js';
import { temporaryFolder, until } from '../../support/agent-process.js';
import { forgeCertificate, leafExtensions, validAround } from '../../support/forged-certificates.js';
import { dial, ListenerDialer, managerIdentity, openRaw, type DialIdentity } from '../../support/listener-dialer.js';

const clock = createSystemClock();
const random = createSystemRandom();
const DAY_MS = 86_400_000;
const QUICK = { handshake: 400, headers: 400, request: 600, keepAlive: 3500, silence: 4000, idle: 700 };

describe('the listener of an agent', function () {
  this.timeout(20_000);
  let folder: ReturnType<typeof temporaryFolder>;
  let manager: FakeManager;
  let daemon: Daemon;

  const start = async (quick = false): Promise<Daemon> => {
    daemon = await composeInProcess(dataDirectory(join(folder.path, 'web1')), {
      listenerPort: 0,
      ...(quick ? { listenerTimeouts: QUICK } : {}),
    });
    await daemon.start();
    await until('it was in contact', () => daemon.status().state === 'online');
    return daemon;
  };
  const port = () => daemon.status().listener.port!;
  const first = () => ({ protocolVersion: 1, computerId: daemon.computerId });
  const once = async (identity: DialIdentity | undefined, body: unknown, how = {}) => {
    const dialer = new ListenerDialer(port(), identity);
    try {
      return await dialer.post(body, how);
    } finally {
      dialer.close();
    }
  };

  beforeEach(async () => {
    folder = temporaryFolder();
    manager = await FakeManager.start(folder.path);
    await enrollInProcess(dataDirectory(join(folder.path, 'web1')), manager);
  });

  afterEach(async () => {
    await daemon.abort();
    await manager.close();
    folder.remove();
  });

  it('answers a dial of the manager with a report, and 204 when nothing is left, over one connection', async () => {
    await start();
    await daemon.spool.append('log', { kind: 'log', severity: 'info', message: 'waits for a dial' });
    const exchange = await dial(manager, { port: port(), computerId: daemon.computerId });
    expect(exchange.status).to.equal(204);
    expect(exchange.connections).to.equal(1);
    expect(exchange.reports[0]).to.include({ computerId: daemon.computerId, direction: 'bidirectional' });
    expect(exchange.reports[0]!.listener).to.deep.equal({ state: 'listening', port: port() });
    expect(manager.events('log').map(({ message }) => message)).to.deep.equal(['waits for a dial']);
    expect(daemon.status().spool.lanes.log.acknowledged).to.equal(0);
  });

  it('follows the orders of a dial: settings are applied and confirmed in it, the next contact counts from it', async () => {
    await start();
    manager.setSettings({ heartbeatIntervalSeconds: 30 });
    manager.intervalMs = 500_000;
    const { reports } = await dial(manager, { port: port(), computerId: daemon.computerId });
    expect(reports.map(({ intervalSeconds }) => intervalSeconds)).to.deep.equal([60, 30]);
    expect(Date.parse(daemon.status().nextContactAt!) - Date.now()).to.be.within(490_000, 500_100);
  });

  it('repeats the exact bytes of an unanswered report to a manager that dials', async () => {
    await start();
    const dialer = new ListenerDialer(port(), managerIdentity(manager));
    const lost = await dialer.post(first());
    expect(lost.status).to.equal(200);
    dialer.close();
    await until('the agent is free again', async () => (await once(managerIdentity(manager), first())).status === 200);
    const bodies = await dial(manager, { port: port(), computerId: daemon.computerId }).then(() => manager.reports);
    expect(bodies.at(-1)!.body).to.equal(lost.body.toString('utf8'));
  });

  it('has one exchange in flight: a second dial is told so, and not counted as an error', async () => {
    await start();
    const dialer = new ListenerDialer(port(), managerIdentity(manager));
    expect((await dialer.post(first())).status).to.equal(200);
    const second = await dial(manager, { port: port(), computerId: daemon.computerId });
    expect([second.status, second.code]).to.deep.equal([409, 'exchange-in-progress']);
    dialer.close();
    expect(daemon.status()).to.include({ state: 'online', lastError: null });
  });

  it('takes a problem as the answer to a report, as if it had dialled', async () => {
    await start();
    const dialer = new ListenerDialer(port(), managerIdentity(manager));
    expect((await dialer.post(first())).status).to.equal(200);
    const problem = { type: '/problems/computer-removed', status: 403, detail: 'gone' };
    expect((await dialer.post({ ...first(), problem })).status).to.equal(204);
    dialer.close();
    await until('it knows', () => daemon.status().state === 'refused');
    expect(daemon.status().lastError!.code).to.equal('computer-removed');
  });

  describe('refuses', () => {
    beforeEach(() => start());

    /** A manager's leaf of the authority in a folder, valid around a day that far from today. */
    const managerOn = async (days: number, dir = 'authority'): Promise<DialIdentity> => {
      const authority = await openAuthority({
        dir: join(folder.path, dir),
        trustDomain: 'test.wardbeat',
        clock,
        random,
      });
      const issuer = {
        key: createPrivateKey(readFileSync(join(folder.path, dir, 'intermediate.pem'))),
        der: derOf(authority),
      };
      const { pem, keyPem } = forgeCertificate({
        name: 'manager',
        issuer,
        ...validAround(clock.wall() + days * DAY_MS),
        extensions: Object.values(leafExtensions('spiffe://test.wardbeat/manager/node-9')),
      });
      return { cert: pem + authority.intermediatePem + authority.rootPem, key: keyPem };
    };
    const derOf = ({ intermediatePem }: CertificateAuthority) => certificatesOf(intermediatePem)[0]!;
    const computer = (): DialIdentity => {
      const { certificatePem, keyPem } = readIdentity(dataDirectory(join(folder.path, 'web1')))!;
      return { cert: certificatePem, key: keyPem };
    };
    const otherComputer = async (): Promise<DialIdentity> => {
      const directory = dataDirectory(join(folder.path, 'db1'));
      await enrollInProcess(directory, manager);
      const { certificatePem, keyPem } = readIdentity(directory)!;
      return { cert: certificatePem, key: keyPem };
    };

    const peers: [string, () => Promise<DialIdentity | undefined>, string][] = [
      ['no certificate', async () => undefined, 'certificate-required'],
      ["the agent's own certificate", async () => computer(), 'certificate-refused'],
      ["another agent's certificate", otherComputer, 'certificate-refused'],
      ["another authority's manager", () => managerOn(0, 'stranger'), 'certificate-refused'],
      ["another authority's expired manager", () => managerOn(-900, 'stranger'), 'certificate-refused'],
      ["another authority's future manager", () => managerOn(900, 'stranger'), 'certificate-refused'],
      ['a manager that has expired', () => managerOn(-900), 'clock-skew'],
      ['a manager that is not valid yet', () => managerOn(900), 'clock-skew'],
    ];
    for (const [name, identityOf, code] of peers)
      it(`${name}, on every path and method, by a problem document`, async () => {
        const identity = await identityOf();
        const before = daemon.status().lastExchangeAt;
        for (const how of [{}, { path: '/' }, { method: 'GET' }, { path: '/agent/v1/heartbeat' }]) {
          const answer = await once(identity, how.method === 'GET' ? '' : first(), how);
          expect([answer.status, answer.code], JSON.stringify(how)).to.deep.equal([403, code]);
          expect(answer.headers.connection).to.equal('close');
        }
        expect(daemon.status().lastExchangeAt).to.equal(before);
      });

    const calls: [string, (dialer: ListenerDialer) => Promise<{ code: string | undefined }>, string][] = [
      ['another computer', (d) => d.post({ ...first(), computerId: random.uuid() }), 'identity-mismatch'],
      ['another path', (d) => d.post(first(), { path: '/agent/v1/heartbeat' }), 'route-not-found'],
      ['another method', (d) => d.post('', { method: 'GET' }), 'method-not-allowed'],
      ['an unknown version', (d) => d.post({ ...first(), protocolVersion: 9 }), 'protocol-version-unsupported'],
      ['no JSON', (d) => d.post('{'), 'request-invalid'],
      [
        'another content type',
        (d) => d.post(first(), { headers: { 'content-type': 'text/plain' } }),
        'content-type-unsupported',
      ],
      [
        'a compressed body',
        (d) => d.post(first(), { headers: { 'content-encoding': 'gzip' } }),
        'content-type-unsupported',
      ],
      ['an odd Host', (d) => d.post(first(), { headers: { host: 'a b' } }), 'request-invalid'],
      ['a body over the limit', (d) => d.post(`"${'a'.repeat(2 * 1024 * 1024)}"`), 'body-too-large'],
      ['orders for no report', (d) => d.post({ ...first(), orders: ordersOf() }), 'request-invalid'],
    ];
    const ordersOf = () => manager.take(Buffer.from(manager.reports[0]!.body), { dialledBy: 'manager' });
    for (const [name, send, code] of calls)
      it(`${name} from the manager itself`, async () => {
        const dialer = new ListenerDialer(port(), managerIdentity(manager));
        expect((await send(dialer)).code).to.equal(code);
        dialer.close();
        expect((await dial(manager, { port: port(), computerId: daemon.computerId })).status).to.equal(204);
      });

    it('two Host fields, upgrades and tunnels', async () => {
      const heads = [
        'POST /listener/v1/heartbeat HTTP/1.1\r\nHost: a\r\nHost: b\r\nContent-Length: 0\r\n\r\n',
        'GET /listener/v1/heartbeat HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n',
        'CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n',
        'NONSENSE\r\n\r\n',
      ];
      for (const head of heads) {
        const { socket, said } = await openRaw(port(), managerIdentity(manager));
        socket.write(head);
        await until('it was answered', () => said().includes('\r\n\r\n'));
        expect(said(), head)
          .to.match(/^HTTP\/1\.1 4\d\d /)
          .and.contain('application/problem+json');
        socket.destroy();
      }
    });
  });

  it('asks for the body of a caller that waits to be asked', async () => {
    await start();
    const { socket, said } = await openRaw(port(), managerIdentity(manager));
    const body = JSON.stringify(first());
    socket.write(
      'POST /listener/v1/heartbeat HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n' +
        `Expect: 100-continue\r\nContent-Length: ${body.length}\r\n\r\n`,
    );
    await until('it was asked', () => said().startsWith('HTTP/1.1 100 '));
    socket.write(body);
    await until('it was answered', () => said().includes('HTTP/1.1 200 '));
    socket.destroy();
  });

  it('resumes no TLS session, so that every connection is judged by its certificate', async () => {
    await start();
    for (const version of ['TLSv1.2', 'TLSv1.3'] as const) {
      const identity = { ...managerIdentity(manager), minVersion: version, maxVersion: version };
      const sessions: Buffer[] = [];
      const { socket } = await openRaw(port(), identity, { onSession: (session) => sessions.push(session) });
      socket.write(`POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n`);
      await until('it was closed', () => socket.destroyed);
      for (const session of sessions) {
        const again = await openRaw(port(), identity, { session });
        expect(again.socket.isSessionReused()).to.equal(false);
        again.socket.destroy();
      }
    }
  });

  describe('closes connections that keep it waiting:', () => {
    beforeEach(() => start(true));

    const closes = async (send: (socket: NodeJS.WritableStream) => void, identity?: DialIdentity) => {
      const { socket, said } = await openRaw(port(), identity);
      send(socket);
      await until('it was closed', () => socket.destroyed || socket.readableEnded, 4000);
      socket.destroy();
      return said();
    };
    const tooSlow = (answer: string) =>
      expect(answer)
        .to.match(/^HTTP\/1\.1 408 /)
        .and.include('/problems/request-timeout');

    it('without a ClientHello', async () => {
      const socket = connect(port(), '127.0.0.1');
      socket.on('error', () => undefined);
      await until('it was closed', () => socket.destroyed || socket.readableEnded, 4000);
    });
    it('without a request', () => closes(() => undefined, managerIdentity(manager)));
    it('with a header that never ends', async () => {
      const head = 'POST /listener/v1/heartbeat HTTP/1.1\r\nHost: a\r\n';
      tooSlow(await closes((socket) => socket.write(head), managerIdentity(manager)));
    });
    it('with a body that never ends', async () => {
      const head =
        'POST /listener/v1/heartbeat HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{';
      tooSlow(await closes((socket) => socket.write(head), managerIdentity(manager)));
    });
    it('with empty lines after an answer', async () => {
      const { socket, said } = await openRaw(port(), managerIdentity(manager));
      const body = JSON.stringify(first());
      socket.write(
        `POST /listener/v1/heartbeat HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n${body}`,
      );
      await until('it was answered', () => said().startsWith('HTTP/1.1 200 '));
      await until(
        'it was closed',
        () => {
          if (!socket.destroyed) socket.write('\r\n');
          return socket.destroyed || socket.readableEnded;
        },
        4000,
      );
    });
    it('without a certificate and a request', () => closes(() => undefined));

    it('and takes the first dial of its manager while strangers hold all they may', async () => {
      const held = Array.from({ length: 40 }, () => connect(port(), '127.0.0.1').on('error', () => undefined));
      const { status } = await dial(manager, { port: port(), computerId: daemon.computerId });
      expect(status).to.equal(204);
      for (const socket of held) socket.destroy();
    });
  });

  describe('listenerAllowedSources', () => {
    it('count before the handshake, and a change of the list at once', async () => {
      await start();
      manager.setSettings({ listenerAllowedSources: ['10.0.0.0/8'] });
      await dial(manager, { port: port(), computerId: daemon.computerId });
      const refused = await openRaw(port(), managerIdentity(manager)).then(
        () => 'open',
        () => 'closed',
      );
      expect(refused).to.equal('closed');
      // The agent goes on dialling, and so the list can be changed back.
      manager.setSettings({ listenerAllowedSources: ['127.0.0.0/8', '00:11:22:33:44:55'] });
      await daemon.abort();
      await start();
      const exchange = await dial(manager, { port: port(), computerId: daemon.computerId });
      expect(exchange.status).to.equal(204);
    });
  });
});
