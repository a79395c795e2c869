import { expect } from 'chai';
import { createServer, type Server } from 'node:http';
import { connect, type AddressInfo } from 'node:net';
import { createAnsweredRequests } from '../../../lib/answered-requests.js';

describe('a request that is answered before all of it came', () => {
  let server: Server;
  afterEach(() => void server.close());

  /** Everything that comes back for the bytes, after the client has ended its side. */
  async function exchange(bytes: string): Promise<string> {
    const answered = createAnsweredRequests();
    server = createServer();
    server.on('request', answered.see);
    server.on('request', (_request, response) => {
      response.writeHead(413, { 'content-length': '0' }).flushHeaders();
      // Node calls it a client error while the answer is still on its way.
      server.emit('clientError', new Error('the rest makes no sense'), response.socket);
      response.end();
    });
    server.on('clientError', (_error, socket) => {
      if (!answered.close(socket) && socket.writable) socket.end('HTTP/1.1 400 Bad Request\r\n\r\n');
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const socket = connect((server.address() as AddressInfo).port, '127.0.0.1');
    socket.end(bytes);
    let text = '';
    for await (const chunk of socket) text += String(chunk);
    return text;
  }

  it('gets no second answer for what follows', async () => {
    const text = await exchange('POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99\r\n\r\nshort');
    expect(text.match(/HTTP\/1\.1 \d+/g)).to.deep.equal(['HTTP/1.1 413']);
  });

  it('is another matter than nonsense without a request', async () => {
    expect(await exchange('nonsense\r\n\r\n')).to.match(/^HTTP\/1\.1 400/);
  });
});
