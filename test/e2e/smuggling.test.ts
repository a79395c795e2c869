import { expect } from 'chai';
import { connect as connectTcp } from 'node:net';
import { connect as connectTls } from 'node:tls';
import { makeDataDir, removeDataDir, startManager, type ManagerProcess } from '../support/manager-process.js';

/** What an attacker wants to be read as a request of its own. */
const HIDDEN = 'GET /healthz HTTP/1.1\r\nHost: localhost\r\nX: ';
const HOST = 'Host: localhost';
const POST = `POST /agent/v1/enroll HTTP/1.1\r\n${HOST}\r\nContent-Type: application/json\r\n`;
const CHUNKED = 'Transfer-Encoding: chunked';
const CLOSE = 'Connection: close\r\n';

/** A request whose length two readers could see differently, with one hidden in what only one of them takes for a body. */
const framed = (fields: string, body = `0\r\n\r\n${HIDDEN}`) => `${POST}${fields}\r\n${CLOSE}\r\n${body}`;
const length = HIDDEN.length;

const SMUGGLED: Readonly<Record<string, string>> = {
  'a length and chunks': framed(`Content-Length: 5\r\n${CHUNKED}`),
  'chunks and a length': framed(`${CHUNKED}\r\nContent-Length: ${length}`),
  'two lengths': framed(`Content-Length: 0\r\nContent-Length: ${length}`, HIDDEN),
  'the same length twice': framed(`Content-Length: 2\r\nContent-Length: 2`, `{}${HIDDEN}`),
  'a list of lengths': framed(`Content-Length: 0, ${length}`, HIDDEN),
  'a length with a sign': framed(`Content-Length: +${length}`, HIDDEN),
  'a negative length': framed('Content-Length: -1', HIDDEN),
  'a hexadecimal length': framed('Content-Length: 0x10', HIDDEN),
  'a length of two words': framed('Content-Length: 0 5', HIDDEN),
  'a length beyond 2^64': framed('Content-Length: 18446744073709551616', HIDDEN),
  'an empty length': framed('Content-Length:', HIDDEN),
  'an unknown coding': framed('Transfer-Encoding: xchunked'),
  'chunks that are not last': framed('Transfer-Encoding: chunked, identity'),
  'chunks twice': framed('Transfer-Encoding: chunked, chunked'),
  'two codings in two fields': framed(`${CHUNKED}\r\nTransfer-Encoding: identity`),
  'a quoted coding': framed('Transfer-Encoding: "chunked"'),
  'a coding after a vertical tab': framed('Transfer-Encoding:\u000bchunked'),
  'a coding after a line folding': framed('Transfer-Encoding:\r\n chunked'),
  'a space before the colon': framed(`Transfer-Encoding : chunked\r\nContent-Length: 5`),
  'a space before the name': framed(` ${CHUNKED}\r\nContent-Length: 5`),
  'a tab before the first field': `POST /agent/v1/enroll HTTP/1.1\r\n\t${HOST}\r\n${CHUNKED}\r\n\r\n0\r\n\r\n${HIDDEN}`,
  'a folded field': framed(`X: a\r\n ${CHUNKED}\r\nContent-Length: 2`, `{}${HIDDEN}`),
  'a bare LF between fields': framed(`X: a\n${CHUNKED}`),
  'a bare CR between fields': framed(`X: a\r${CHUNKED}\r\nContent-Length: 5`),
  'a bare LF for an empty line': `${POST}${CHUNKED}\n\n0\n\n${HIDDEN}`,
  'bare LFs all over': `GET / HTTP/1.1\n${HOST}\nContent-Length: ${length}\nConnection: close\n\n${HIDDEN}`,
  'NUL in a field': framed(`X: a\0${CHUNKED}\r\nContent-Length: 5`),
  'a field without name': framed(`: chunked\r\nContent-Length: 5`),
  'a line without colon': framed(`Transfer-Encoding chunked\r\nContent-Length: 5`),
  'a chunk with 0x': framed(CHUNKED, `0x2\r\n{}\r\n0\r\n\r\n${HIDDEN}`),
  'a chunk of negative size': framed(CHUNKED, `-1\r\n{}\r\n0\r\n\r\n${HIDDEN}`),
  'a chunk beyond 2^64': framed(CHUNKED, `10000000000000002\r\n{}\r\n0\r\n\r\n${HIDDEN}`),
  'a chunk with a bare LF': framed(CHUNKED, `2\n{}\n0\n\n${HIDDEN}`),
  'a chunk with a bare LF in its extension': framed(CHUNKED, `2;a\n{}\r\n0\r\n\r\n${HIDDEN}`),
  'a chunk without its end': framed(CHUNKED, `2\r\n{}0\r\n\r\n${HIDDEN}`),
  'a length among the trailers': framed(CHUNKED, `2\r\n{}\r\n0\r\nContent-Length: 5\r\n\r\n${HIDDEN}`),
  'chunks in HTTP/1.0': `POST /agent/v1/enroll HTTP/1.0\r\n${HOST}\r\n${CHUNKED}\r\n\r\n0\r\n\r\n${HIDDEN}`,
  'a body of GET': `GET /nowhere HTTP/1.1\r\n${HOST}\r\n${CLOSE}Content-Length: ${length}\r\n\r\n${HIDDEN}`,
  'a body of an upgrade': `GET /nowhere HTTP/1.1\r\n${HOST}\r\nConnection: Upgrade\r\nUpgrade: h2c\r\nContent-Length: ${length}\r\n\r\n${HIDDEN}`,
  'a body of CONNECT': `CONNECT localhost:1 HTTP/1.1\r\n${HOST}\r\nContent-Length: ${length}\r\n\r\n${HIDDEN}`,
  'a body that is announced as too large': framed('Content-Length: 99999999', HIDDEN),
  'a refused expectation': framed(`Expect: 200-maybe\r\nContent-Length: ${length}`, HIDDEN),
  'HTTP/0.9': `GET /healthz\r\n${HIDDEN}`,
  'HTTP/2': `PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n${HIDDEN}`,
  'HTTP/1.2': `GET /healthz HTTP/1.2\r\n${HOST}\r\n\r\n${HIDDEN}`,
};

const headed = (...hosts: readonly string[]) =>
  `GET /healthz HTTP/1.1\r\n${hosts.map((host) => `Host:${host}\r\n`).join('')}${CLOSE}\r\n`;

/** Requests whose target or host two readers could see differently; none is served. */
const CONFUSED: Readonly<Record<string, string>> = {
  'no Host': headed(),
  'an empty Host': headed(''),
  'a Host of spaces': headed('   '),
  'the same Host twice': headed(' localhost', ' localhost'),
  'two Hosts': headed(' localhost', ' evil.example'),
  'user info in Host': headed(' localhost@evil.example'),
  'user info before Host': headed(' evil.example@localhost'),
  'a path in Host': headed(' localhost/healthz'),
  'a list in Host': headed(' localhost, evil.example'),
  'a list of the same Host': headed(' localhost,localhost'),
  'a query in Host': headed(' localhost?x'),
  'a fragment in Host': headed(' localhost#x'),
  'a backslash in Host': headed(' localhost\\evil.example'),
  'a space in Host': headed(' localhost evil.example'),
  'a folded Host': headed(' localhost\r\n evil.example'),
  'an escape in Host': headed(' local%68ost'),
  'an address that does not close': headed(' [::1'),
  'a port that is none': headed(' localhost:99999999'),
  'GET *': `GET * HTTP/1.1\r\n${HOST}\r\n${CLOSE}\r\n`,
  'OPTIONS *': `OPTIONS * HTTP/1.1\r\n${HOST}\r\n${CLOSE}\r\n`,
  'an absolute target': `GET http://localhost/healthz HTTP/1.1\r\n${HOST}\r\n${CLOSE}\r\n`,
  'an absolute target elsewhere': `GET https://evil.example/healthz HTTP/1.1\r\n${HOST}\r\n${CLOSE}\r\n`,
  'a bare authority': `GET localhost:443 HTTP/1.1\r\n${HOST}\r\n${CLOSE}\r\n`,
};

describe('requests that two readers could understand differently (T16)', function () {
  this.timeout(60_000);
  const root = makeDataDir();
  let manager: ManagerProcess;

  before(async () => {
    manager = await startManager({ dataDir: root });
  });
  after(async () => {
    await manager?.stop();
    removeDataDir(root);
  });

  /** All that is answered to the bytes, after which nothing more is sent. */
  function answersTo(url: string, bytes: string): Promise<string[]> {
    const { port, protocol } = new URL(url);
    const target = { host: '127.0.0.1', port: Number(port) };
    return new Promise((resolve) => {
      let received = '';
      const socket = protocol === 'https:' ? connectTls({ ...target, rejectUnauthorized: false }) : connectTcp(target);
      const settle = (): void => {
        socket.destroy();
        resolve([...received.matchAll(/HTTP\/1\.1 (\d{3}) /g)].map(([, status = '']) => status));
      };
      socket.setEncoding('latin1').on('data', (chunk) => (received += String(chunk)));
      socket.on('end', settle).on('close', settle).on('error', settle);
      socket.once(protocol === 'https:' ? 'secureConnect' : 'connect', () => socket.end(bytes, 'latin1'));
    });
  }

  const doors: readonly (readonly [name: string, url: () => string])[] = [
    ['the admin port', () => manager.adminUrl],
    ['the agent port', () => manager.agentUrl],
  ];
  for (const [door, url] of doors) {
    for (const [name, bytes] of Object.entries(SMUGGLED))
      it(`have at most one answer on ${door}, a refusal: ${name}`, async () => {
        const answers = await answersTo(url(), bytes);
        expect(answers).to.have.length.at.most(1);
        for (const status of answers) expect(status).to.match(/^4\d\d$/);
      });
    for (const [name, bytes] of Object.entries(CONFUSED))
      it(`are not served on ${door}: ${name}`, async () => {
        const answers = await answersTo(url(), bytes);
        expect(answers).to.have.length.at.most(1);
        for (const status of answers) expect(status).to.be.oneOf(['400', '403']);
      });
  }
});
