import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { createServer as createHttpsServer } from 'node:https';
import { createServer as createTcpServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { createServer as createTlsServer } from 'node:tls';
import { SMTPServer, type SMTPServerOptions } from 'smtp-server';

/** Certificate and key that the receivers show, and what a channel trusts them by. */
export interface ReceiverTls {
  readonly cert: string;
  readonly key: string;
  readonly caPem: string;
}

/** From files of `makeTlsFiles`: the last certificate of the chain is the root. */
export function readReceiverTls({ cert, key }: { readonly cert: string; readonly key: string }): ReceiverTls {
  const chain = readFileSync(cert, 'utf8');
  const blocks = chain.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g) ?? [];
  return { cert: chain, key: readFileSync(key, 'utf8'), caPem: blocks.at(-1) ?? '' };
}

export interface Receiver {
  readonly port: number;
  close(): Promise<void>;
}

async function listening(server: Server): Promise<Receiver> {
  const sockets = new Set<Socket>();
  for (const name of ['connection', 'secureConnection'])
    server.on(name, (socket: Socket) => {
      sockets.add(socket.on('close', () => sockets.delete(socket)).on('error', () => undefined));
    });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    port: (server.address() as AddressInfo).port,
    async close() {
      for (const socket of sockets) socket.destroy();
      server.close();
      await once(server, 'close');
    },
  };
}

export interface ReceivedPost {
  readonly path: string;
  readonly headers: IncomingMessage['headers'];
  readonly body: string;
}

export interface HttpsReceiver extends Receiver {
  readonly posts: ReceivedPost[];
  /** What it answers; 204 until told otherwise. */
  answer: (post: ReceivedPost, response: ServerResponse) => void;
}

export async function startHttpsReceiver({ cert, key }: ReceiverTls): Promise<HttpsReceiver> {
  const posts: ReceivedPost[] = [];
  const server = createHttpsServer({ cert, key }, (request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      const body = Buffer.concat(chunks).toString('utf8');
      const post = { path: request.url ?? '', headers: request.headers, body };
      posts.push(post);
      receiver.answer(post, response);
    });
  });
  const receiver: HttpsReceiver = {
    ...(await listening(server)),
    posts,
    answer: (_post, response) => void response.writeHead(204).end(),
  };
  return receiver;
}

export interface ReceivedMail {
  readonly user: string | undefined;
  readonly isSecure: boolean;
  readonly from: string;
  readonly to: readonly string[];
  readonly source: string;
}

export interface MailReceiver extends Receiver {
  readonly mails: ReceivedMail[];
}

export async function startMailReceiver(
  { cert, key }: ReceiverTls,
  { password = '', ...options }: SMTPServerOptions & { readonly password?: string } = {},
): Promise<MailReceiver> {
  const mails: ReceivedMail[] = [];
  const server = new SMTPServer({
    cert,
    key,
    authOptional: password === '',
    disableReverseLookup: true,
    onAuth(auth, _session, callback) {
      if (auth.password === password) return callback(null, { user: auth.username ?? '' });
      // A server that tells everybody what was tried.
      return callback(new Error(`no such sign-in: ${auth.username} with ${auth.password}`));
    },
    onData(stream, session, callback) {
      const chunks: Buffer[] = [];
      stream.on('data', (chunk: Buffer) => chunks.push(chunk));
      stream.on('end', () => {
        const { mailFrom, rcptTo } = session.envelope;
        mails.push({
          user: typeof session.user === 'string' ? session.user : undefined,
          isSecure: session.secure,
          from: mailFrom === false ? '' : mailFrom.address,
          to: rcptTo.map(({ address }) => address),
          source: Buffer.concat(chunks).toString('utf8'),
        });
        callback();
      });
    },
    ...options,
  });
  server.on('error', () => undefined);
  server.listen(0, '127.0.0.1');
  await once(server.server, 'listening');
  return {
    mails,
    port: (server.server.address() as AddressInfo).port,
    close: () => new Promise((resolve) => server.close(() => resolve())),
  };
}

export interface SyslogReceiver extends Receiver {
  /** Whole messages. */
  readonly lines: string[];
  /** Bytes that no frame takes. */
  rest(): number;
}

export async function startUdpSyslog(): Promise<SyslogReceiver> {
  const lines: string[] = [];
  const socket = createSocket('udp4');
  socket.on('message', (message) => lines.push(message.toString('utf8')));
  socket.bind(0, '127.0.0.1');
  await once(socket, 'listening');
  const close = () => new Promise<void>((resolve) => void socket.close(() => resolve()));
  return { lines, rest: () => 0, port: socket.address().port, close };
}

export async function startTcpSyslog(tls?: ReceiverTls): Promise<SyslogReceiver> {
  const lines: string[] = [];
  let unread = 0;
  const read = (socket: Socket): void => {
    let pending = Buffer.alloc(0);
    socket.on('error', () => undefined);
    socket.on('data', (chunk: Buffer) => {
      pending = takeFrames(Buffer.concat([pending, chunk]), lines);
      unread = pending.length;
    });
  };
  const server = tls ? createTlsServer({ cert: tls.cert, key: tls.key }, read) : createTcpServer(read);
  return { ...(await listening(server)), lines, rest: () => unread };
}

/** Octet counting: `LENGTH BLANK MESSAGE`. Answers what is left of a frame that has not come whole. */
function takeFrames(bytes: Buffer, lines: string[]): Buffer<ArrayBuffer> {
  let rest = Buffer.from(bytes);
  for (;;) {
    const [head, length] = /^(\d+) /.exec(rest.subarray(0, 12).toString('latin1')) ?? [];
    if (head === undefined || rest.length < head.length + Number(length)) return rest;
    lines.push(rest.subarray(head.length, head.length + Number(length)).toString('utf8'));
    rest = rest.subarray(head.length + Number(length));
  }
}

/** As a balancer with nobody behind it: accepts and closes. */
export async function startClosingReceiver(tls?: ReceiverTls): Promise<Receiver> {
  const close = (socket: Socket): void => void socket.on('error', () => undefined).destroy();
  return listening(tls ? createTlsServer({ cert: tls.cert, key: tls.key }, close) : createTcpServer(close));
}

/** Whatever is accepted here stays without a word. */
export async function startSilentReceiver(): Promise<Receiver & { readonly connections: () => number }> {
  let connections = 0;
  const server = createTcpServer((socket) => {
    connections += 1;
    socket.on('error', () => undefined).resume();
  });
  return { ...(await listening(server)), connections: () => connections };
}
