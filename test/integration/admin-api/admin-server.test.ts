import { expect } from 'chai';
import type { RequestListener } from 'node:http';
import { connect } from 'node:net';
import { createSystemClock } from '../../../lib/clock.js';
import { createLog } from '../../../lib/log.js';
import { createAdminServer } from '../../../server/admin-api/admin-server.js';
import { sendRaw } from './admin-world.js';

describe('the admin port', () => {
  const clock = createSystemClock();
  const log = createLog({ name: 'test', level: 'silent' });
  const base = { port: 0, tls: null, clock, log } as const;
  const hello: RequestListener = (_request, response) => response.end('hello');

  for (const host of ['0.0.0.0', '::', '192.0.2.1', 'wardbeat.example', '127.0.0.1.evil.example', '']) {
    it(`speaks no plain HTTP on "${host}"`, () => {
      expect(() => createAdminServer({ ...base, host, app: hello })).to.throw('needs TLS');
    });
  }

  it('starts and stops, once each however often it is asked', async () => {
    const server = createAdminServer({ ...base, host: '127.0.0.1', app: hello });
    expect(() => server.url()).to.throw();
    await Promise.all([server.start(), server.start()]);
    expect((await sendRaw(server.url(), { method: 'GET', path: '/' })).text).to.equal('hello');
    await Promise.all([server.stop(), server.stop()]);
    await server.stop();
    expect(() => server.url()).to.throw();
  });

  it('lets a call end that has begun when it stops', async () => {
    let begun: (() => void) | undefined;
    let finish: (() => void) | undefined;
    const hasBegun = new Promise<void>((resolve) => (begun = resolve));
    const slow: RequestListener = (_request, response) => {
      finish = () => response.end('late');
      begun?.();
    };
    const server = createAdminServer({ ...base, host: '127.0.0.1', app: slow });
    await server.start();
    const answer = sendRaw(server.url(), { method: 'GET', path: '/' });
    await hasBegun;
    const stopped = server.stop();
    finish?.();
    expect((await answer).text).to.equal('late');
    await stopped;
  });

  it('closes a connection that is kept open and idle when it stops', async () => {
    const server = createAdminServer({ ...base, host: '127.0.0.1', app: hello });
    await server.start();
    const socket = connect(Number(new URL(server.url()).port), '127.0.0.1');
    const closed = new Promise<void>((resolve) => socket.once('close', () => resolve()));
    await new Promise<void>((resolve) => socket.once('connect', () => resolve()));
    socket.write('GET / HTTP/1.1\r\nHost: localhost\r\n\r\n');
    await new Promise<void>((resolve) => socket.once('data', () => resolve()));
    await server.stop();
    await closed;
  });
});
