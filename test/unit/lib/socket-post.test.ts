import { expect } from 'chai';
import { createServer, type RequestListener, type Server } from 'node:http';
import { connect, type AddressInfo, type Socket } from 'node:net';
import { networkFaultOf } from '../../../lib/network-error.js';
import { postOverSocket, SingleSocketAgent, type AnswerPart } from '../../../lib/socket-post.js';

describe('Posting over one open socket', () => {
  const servers: Server[] = [];
  let sockets = 0;

  const open = async (serve: RequestListener): Promise<Socket> => {
    const started = createServer(serve).on('connection', () => (sockets += 1));
    servers.push(started);
    await new Promise<void>((resolve) => started.listen(0, '127.0.0.1', resolve));
    const socket = connect((started.address() as AddressInfo).port, '127.0.0.1').on('error', () => undefined);
    await new Promise((resolve) => socket.once('connect', resolve));
    return socket;
  };
  const post = (agent: SingleSocketAgent, changes: { admit?: (part: AnswerPart) => void; signal?: AbortSignal } = {}) =>
    postOverSocket({
      agent,
      host: 'peer.example',
      path: '/calls',
      body: '{"a":1}',
      admit: () => undefined,
      signal: new AbortController().signal,
      ...changes,
    });
  const failureOf = (work: Promise<unknown>): Promise<unknown> =>
    work.then(
      () => expect.fail('it was answered'),
      (error: unknown) => error,
    );

  afterEach(() => {
    for (const server of servers.splice(0)) {
      server.closeAllConnections();
      server.close();
    }
    sockets = 0;
  });

  it('sends one request after the other over it, and hands out answers of every status', async () => {
    const heard: string[] = [];
    const agent = new SingleSocketAgent(
      await open((request, response) => {
        heard.push(`${request.method} ${request.url} ${request.headers.host}`);
        request.resume().on('end', () => response.writeHead(heard.length === 1 ? 307 : 200).end('text'));
      }),
    );
    const answers = [await post(agent), await post(agent)];
    expect(answers.map(({ status, bytes }) => [status, bytes.toString()])).to.deep.equal([
      [307, 'text'],
      [200, 'text'],
    ]);
    expect(heard).to.deep.equal(['POST /calls peer.example', 'POST /calls peer.example']);
    expect(sockets).to.equal(1);
  });

  it('never opens another socket', async () => {
    const socket = await open((_request, response) => response.end());
    const agent = new SingleSocketAgent(socket);
    socket.destroy();
    expect(networkFaultOf(await failureOf(post(agent))).fault).to.equal('reset');
    expect(sockets).to.equal(1);
  });

  it('ends where the peer switches protocols unasked, or hangs up', async () => {
    const upgrade = { connection: 'upgrade', upgrade: 'other' };
    for (const serve of [
      (_request, response) => response.writeHead(101, upgrade).end(),
      ({ socket }) => socket.destroy(),
    ] satisfies RequestListener[]) {
      const failure = await failureOf(post(new SingleSocketAgent(await open(serve))));
      expect(networkFaultOf(failure).fault).to.equal('reset');
    }
  });

  it('ends with what does not admit the answer, with a cut, and with the reason of its signal', async () => {
    const serve: RequestListener = (_request, response) => response.writeHead(200).write('much');
    const tooMuch = new Error('too much');
    const refused = post(new SingleSocketAgent(await open(serve)), {
      admit({ status, totalBytes, chunkBytes }) {
        expect([status, totalBytes, chunkBytes]).to.deep.equal([200, 4, 4]);
        throw tooMuch;
      },
    });
    expect(await failureOf(refused)).to.equal(tooMuch);
    const socket = await open(serve);
    const cut = post(new SingleSocketAgent(socket), { admit: () => void servers.at(-1)?.closeAllConnections() });
    expect(networkFaultOf(await failureOf(cut)).fault).to.equal('reset');
    const aborter = new AbortController();
    const reason = new Error('the time is over');
    const aborted = post(new SingleSocketAgent(await open(serve)), {
      admit: () => aborter.abort(reason),
      signal: aborter.signal,
    });
    expect(await failureOf(aborted)).to.equal(reason);
  });
});
