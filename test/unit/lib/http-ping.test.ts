import { expect } from 'chai';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { readFileSync } from 'node:fs';
import { createServer as createTlsServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { PingFailure, pingUrl } from '../../../lib/http-ping.js';
import { makeDataDir, removeDataDir } from '../../support/manager-process.js';
import { makeTlsFiles } from '../../support/tls-files.js';

describe('a ping', () => {
  let server: Server;
  let handle: (request: IncomingMessage, response: ServerResponse) => void;
  const seen: string[] = [];

  before((done) => {
    server = createServer((request, response) => {
      seen.push(`${request.method} ${request.url}`);
      handle(request, response);
    });
    server.listen(0, '127.0.0.1', done);
  });
  after((done) => {
    server.closeAllConnections();
    server.close(done);
  });
  beforeEach(() => (seen.length = 0));

  const url = (path = '/secret?key=1') => new URL(`http://127.0.0.1:${(server.address() as AddressInfo).port}${path}`);
  const ping = (target = url(), { timeoutMs = 5000, signal = new AbortController().signal } = {}) =>
    pingUrl(target, { timeoutMs, signal });
  const failure = async (...asked: Parameters<typeof ping>): Promise<string> => {
    const error = await ping(...asked).catch((thrown: unknown) => thrown);
    expect(error).to.be.instanceOf(PingFailure);
    const { message } = error as PingFailure;
    expect(message).not.to.match(/secret|127\.0\.0\.1|key/);
    return message;
  };

  it('is one GET of the whole URL, taken by any 2xx', async () => {
    for (const status of [200, 202, 204]) {
      handle = (_request, response) => response.writeHead(status).end(status === 204 ? '' : 'OK');
      await ping();
    }
    expect(seen).to.deep.equal(Array.from({ length: 3 }, () => 'GET /secret?key=1'));
  });

  it('follows no redirect', async () => {
    handle = (_request, response) => response.writeHead(302, { location: '/elsewhere' }).end();
    expect(await failure()).to.equal('answered 302');
    expect(seen).to.have.length(1);
  });

  it('is not taken by a refusal', async () => {
    handle = (_request, response) => response.writeHead(404).end('no such check');
    expect(await failure()).to.equal('answered 404');
  });

  it('ends in time where nothing is answered, or the answer never ends', async () => {
    handle = () => undefined;
    expect(await failure(url(), { timeoutMs: 100 })).to.equal('no end of an answer within 0.1 s');
    handle = (_request, response) => void response.writeHead(200).write('x');
    expect(await failure(url(), { timeoutMs: 100 })).to.equal('no end of an answer within 0.1 s');
  });

  it('reads no more than a short answer, nor a long header', async () => {
    handle = (_request, response) => response.writeHead(200).end('x'.repeat(70_000));
    expect(await failure()).to.equal('answered more than 65536 bytes');
    handle = (_request, response) => response.writeHead(200, { long: 'x'.repeat(20_000) }).end();
    expect(await failure()).to.contain('HPE_HEADER_OVERFLOW');
  });

  it('tells a broken answer and a port that is closed by their kind alone', async () => {
    handle = (request) => request.socket.end('nonsense\r\n\r\n');
    expect(await failure()).to.match(/^no-http \(HPE_/);
    expect(await failure(new URL('http://127.0.0.1:1/secret'))).to.equal('refused (ECONNREFUSED)');
  });

  it('is not taken by another protocol', async () => {
    handle = (_request, response) => response.writeHead(101, { connection: 'upgrade', upgrade: 'other' }).end();
    expect(await failure()).to.equal('reset (ECONNRESET)');
  });

  it('ends with its signal', async () => {
    handle = () => aborter.abort();
    const aborter = new AbortController();
    await failure(url(), { signal: aborter.signal });
  });

  it('trusts no authority that the system does not', async () => {
    const folder = makeDataDir();
    const { cert, key } = await makeTlsFiles(folder, 'checker');
    const files = { cert: readFileSync(cert), key: readFileSync(key) };
    removeDataDir(folder);
    const tls = createTlsServer(files, (_request, response) => response.end());
    await new Promise<void>((resolve) => tls.listen(0, '127.0.0.1', resolve));
    try {
      const { port } = tls.address() as AddressInfo;
      expect(await failure(new URL(`https://127.0.0.1:${port}/secret`))).to.match(/SELF_SIGNED|UNABLE_TO/);
    } finally {
      tls.close();
    }
  });
});
