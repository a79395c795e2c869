import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { createServer as createTlsServer, type TLSSocket } from 'node:tls';
import { setTimeout as delay } from 'node:timers/promises';

/** What it does with the next CONNECT, and with all after it. */
export type Mischief =
  /** Does what it is asked for. */
  | 'serves'
  | 'serves-slowly'
  | 'wants-credentials'
  | 'html-with-200'
  | 'bytes-behind-200'
  | 'redirects'
  | 'forbids'
  | 'no-gateway'
  | 'endless-headers'
  | 'drip-feeds'
  | 'speaks-no-http'
  | 'continues'
  | 'closes'
  | 'says-nothing'
  | 'closes-after-200'
  | 'silent-after-200'
  | 'own-certificate'
  /** Serves the handshake (TLS 1.3), then lets through nothing of the manager's. */
  | 'dies-mid-exchange'
  | 'silent-mid-exchange';

export interface RogueOptions {
  /** Refuses with 407 whoever does not give them. */
  readonly credentials?: { readonly username: string; readonly password: string };
  /** To be an https proxy, and for `own-certificate`. */
  readonly tls?: { readonly key: string; readonly cert: string };
  readonly isTls?: boolean;
  readonly slownessMs?: number;
  readonly host?: string;
}

export interface AskedConnect {
  readonly target: string;
  readonly authorization: string | undefined;
}

/** A proxy that misbehaves on command, and notes what came to it in plain text. */
export class RogueProxy {
  mischief: Mischief = 'serves';
  readonly asked: AskedConnect[] = [];
  /** Everything that a client sent before a tunnel was open. */
  received = '';
  connections = 0;
  readonly #options: RogueOptions;
  readonly #sockets = new Set<Socket>();
  #server: Server | undefined;
  #port = 0;

  private constructor(options: RogueOptions) {
    this.#options = options;
  }

  static async start(options: RogueOptions = {}): Promise<RogueProxy> {
    const proxy = new RogueProxy(options);
    await proxy.listen();
    return proxy;
  }

  get url(): string {
    const { isTls, host = '127.0.0.1' } = this.#options;
    return `${isTls ? 'https' : 'http'}://${host.includes(':') ? `[${host}]` : host}:${this.#port}`;
  }

  get open(): number {
    return this.#sockets.size;
  }

  async listen(): Promise<void> {
    const { isTls, tls, host = '127.0.0.1' } = this.#options;
    const accept = (socket: Socket) => this.#accept(socket);
    const server = isTls ? createTlsServer({ ...tls }, accept) : createServer(accept);
    server.on('tlsClientError', () => undefined);
    server.listen(this.#port, host);
    await once(server, 'listening');
    this.#port = (server.address() as AddressInfo).port;
    this.#server = server;
  }

  /** As a process that ends: nothing listens, and what was open is reset. */
  async close(): Promise<void> {
    const server = this.#server;
    if (!server) return;
    this.#server = undefined;
    for (const socket of this.#sockets) socket.destroy();
    server.close();
    await once(server, 'close');
  }

  /** What is open stays so, and lets nothing through any more. */
  hush(): void {
    for (const socket of this.#sockets) socket.pause();
  }

  #accept(client: Socket): void {
    this.connections += 1;
    this.#keep(client);
    let head = '';
    const read = (chunk: Buffer): void => {
      head += chunk.toString('latin1');
      this.received += chunk.toString('latin1');
      if (!head.includes('\r\n\r\n')) return;
      client.removeListener('data', read);
      this.#answer(client, head).catch(() => client.destroy());
    };
    client.on('data', read);
  }

  #keep(socket: Socket): void {
    this.#sockets.add(socket);
    socket.on('error', () => undefined);
    socket.once('close', () => this.#sockets.delete(socket));
  }

  async #answer(client: Socket, head: string): Promise<void> {
    const target = /^CONNECT (\S+) /.exec(head)?.[1] ?? '';
    const authorization = /^proxy-authorization: (.*)\r$/im.exec(head)?.[1];
    this.asked.push({ target, authorization });
    if (!this.#isWelcome(authorization))
      return void client.end(answerOf('407 No', 'Proxy-Authenticate: Basic realm=x'));
    await ACTS[this.mischief]({
      client,
      slownessMs: this.#options.slownessMs ?? 2000,
      tunnel: (more) => this.#tunnel(client, target, more),
      impersonate: () => this.#impersonate(client),
    });
  }

  #isWelcome(authorization: string | undefined): boolean {
    const { credentials } = this.#options;
    if (!credentials) return true;
    const wanted = Buffer.from(`${credentials.username}:${credentials.password}`).toString('base64');
    return authorization === `Basic ${wanted}`;
  }

  #tunnel(client: Socket, target: string, { dies }: { readonly dies?: 'reset' | 'silence' } = {}): void {
    const { hostname, port } = new URL(`tcp://${target}`);
    const server = connect({ host: hostname.replace(/^\[|\]$/g, ''), port: Number(port) });
    this.#keep(server);
    const seen = { helloOfServer: false, flightOfClient: false };
    server.once('connect', () => client.write(answerOf('200 Connection established')));
    server.once('error', () => client.end(answerOf('502 Bad gateway')));
    server.on('data', (chunk: Buffer) => {
      seen.helloOfServer = true;
      if (dies === undefined || !seen.flightOfClient) return void client.write(chunk);
      if (dies === 'silence') return undefined;
      server.destroy();
      return void client.resetAndDestroy();
    });
    client.on('data', (chunk: Buffer) => {
      seen.flightOfClient ||= seen.helloOfServer;
      server.write(chunk);
    });
    client.once('close', () => server.destroy());
    server.once('close', () => dies !== 'silence' && client.destroySoon());
  }

  /** Is the manager itself, with a certificate of its own. */
  #impersonate(client: Socket): void {
    client.write(answerOf('200 Connection established'));
    const impostor = createTlsServer({ ...this.#options.tls }, (inside: TLSSocket) => {
      this.#keep(inside);
      inside.on('data', (chunk: Buffer) => (this.received += chunk.toString('latin1')));
      inside.write('HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}');
    });
    impostor.on('tlsClientError', () => undefined);
    impostor.emit('connection', client);
  }
}

interface Act {
  readonly client: Socket;
  readonly slownessMs: number;
  readonly tunnel: (more?: { readonly dies?: 'reset' | 'silence' }) => void;
  readonly impersonate: () => void;
}

function answerOf(status: string, ...headers: readonly string[]): string {
  return [`HTTP/1.1 ${status}`, ...headers, '', ''].join('\r\n');
}

const PAGE = '<html><body>Please sign in</body></html>';
const OK = answerOf('200 OK');

const ACTS: Readonly<Record<Mischief, (act: Act) => void | Promise<void>>> = {
  serves: ({ tunnel }) => tunnel(),
  'serves-slowly': async ({ tunnel, slownessMs }) => {
    await delay(slownessMs);
    tunnel();
  },
  'wants-credentials': ({ client }) => void client.write(answerOf('407 Who?', 'Proxy-Authenticate: Basic realm=x')),
  'html-with-200': ({ client }) => {
    client.write(answerOf('200 OK', 'Content-Type: text/html', `Content-Length: ${PAGE.length}`));
    client.end(PAGE);
  },
  'bytes-behind-200': ({ client }) => void client.write(`${OK}\x16\x03\x01`),
  redirects: ({ client }) => void client.end(answerOf('302 Found', 'Location: https://login.example/')),
  forbids: ({ client }) => void client.end(answerOf('403 Forbidden')),
  'no-gateway': ({ client }) => void client.end(answerOf('504 Gateway timeout')),
  'endless-headers': async ({ client }) => {
    client.write('HTTP/1.1 200 OK\r\n');
    while (!client.destroyed) {
      client.write(`X-Filler: ${'a'.repeat(1000)}\r\n`);
      await delay(1);
    }
  },
  'drip-feeds': async ({ client }) => {
    for (const letter of `HTTP/1.1 200 OK\r\nX: ${'a'.repeat(10_000)}`) {
      if (client.destroyed) return;
      client.write(letter);
      await delay(50);
    }
  },
  'speaks-no-http': ({ client }) => void client.write('220 mail.example ESMTP\r\n'),
  continues: ({ client }) => void client.write('HTTP/1.1 100 Continue\r\n\r\n'.repeat(100)),
  closes: ({ client }) => void client.end(),
  'says-nothing': () => undefined,
  'closes-after-200': ({ client }) => void client.end(OK),
  'silent-after-200': ({ client }) => void client.write(OK),
  'own-certificate': ({ impersonate }) => impersonate(),
  'dies-mid-exchange': ({ tunnel }) => tunnel({ dies: 'reset' }),
  'silent-mid-exchange': ({ tunnel }) => tunnel({ dies: 'silence' }),
};
