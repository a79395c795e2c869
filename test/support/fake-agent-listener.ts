import { createServer, type Server } from 'node:https';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { createServer as createTcpServer, type AddressInfo, type Socket } from 'node:net';
import { randomUUID } from 'node:crypto';
import type { SecureVersion } from 'node:tls';
import { TLS_OPTIONS } from '../../certs/tls-profile.js';
import type { Report } from '../../protocol/heartbeat-messages.js';
import type { ListenerCall } from '../../protocol/listener-messages.js';
import { LISTENER_PATHS } from '../../protocol/protocol-version.js';
import type { ClientIdentity } from './agent-port.js';
import { steadyReport } from './ingest-world.js';

/**
 * How a fake agent answers: `good` as the protocol says; `tarpit` accepts TCP and never says a word; `mute` shakes hands
 * and never answers; `upgrade` switches protocols unasked; `half` sends a part of its answer; `drip` one byte at a time, for ever.
 */
export type ListenerMode =
  | 'good'
  | 'tarpit'
  | 'mute'
  | 'half'
  | 'drip'
  | 'busy'
  | 'huge'
  | 'no-json'
  | 'no-report'
  | 'other-report'
  | 'redirect'
  | 'upgrade'
  | 'empty';

export interface FakeListenerOptions {
  /** Undefined: no certificate to show, so that no handshake can succeed. */
  readonly identity: ClientIdentity | undefined;
  readonly computerId: string;
  readonly mode?: ListenerMode;
  /** An address of this host, `127.0.0.1` unless given. */
  readonly host?: string;
  readonly port?: number;
  /** The only TLS version that it speaks. */
  readonly version?: SecureVersion;
  /** Says this to whoever has shaken hands, without being asked. */
  readonly greeting?: string;
  /** Of a redirection: 307 to a port where nobody listens, unless given. */
  readonly redirect?: { readonly status: number; readonly location: string };
  /** Root that the caller must show a certificate of. */
  readonly rootPem: string;
  readonly now: () => number;
  /** What the reports say beside the steady rest. */
  readonly changes?: (call: ListenerCall) => Partial<Report>;
  /** How many reports of one exchange, the last of which ends it. */
  readonly reports?: number;
  /** The request that it asks with, where the manager finds its certificate expired; without one it knows no renewal. */
  readonly csr?: string;
}

export interface FakeListener {
  readonly port: number;
  mode: ListenerMode;
  /** Connections that reached it, by `performance.now()`. */
  readonly connections: { readonly at: number; closedAt: number | null }[];
  readonly calls: ListenerCall[];
  /** Subject of the certificates that callers showed. */
  readonly callers: string[];
  /** Bytes that callers said after their handshakes. */
  readonly heardBytes: number;
  /** Handshakes that resumed a session. */
  readonly resumed: number;
  close(): Promise<void>;
}

/** An agent's listener that a test plays, on loopback over real TLS. */
export async function startFakeListener(options: FakeListenerOptions): Promise<FakeListener> {
  const fake = new Fake(options);
  await fake.listen();
  return fake;
}

const ODD_BODIES: Readonly<Record<string, string>> = { 'no-json': '<html></html>', 'no-report': '{"hello": 1}' };
const BARE: Readonly<Record<string, [status: number, headers: Record<string, string>]>> = {
  empty: [204, {}],
  upgrade: [101, { connection: 'upgrade', upgrade: 'other' }],
};

class Fake implements FakeListener {
  mode: ListenerMode;
  readonly connections: { readonly at: number; closedAt: number | null }[] = [];
  readonly calls: ListenerCall[] = [];
  readonly callers: string[] = [];
  heardBytes = 0;
  resumed = 0;
  readonly #options: FakeListenerOptions;
  readonly #sockets = new Set<Socket>();
  readonly #tls: Server;
  readonly #tcp;
  #sequence = 0;

  constructor(options: FakeListenerOptions) {
    this.#options = options;
    this.mode = options.mode ?? 'good';
    this.#tls = createServer(
      {
        ...TLS_OPTIONS,
        ...options.identity,
        ...(options.version ? { minVersion: options.version, maxVersion: options.version } : {}),
        ca: options.rootPem,
        requestCert: true,
        rejectUnauthorized: false,
      },
      (request, response) => this.#serve(request, response),
    );
    this.#tls.on('secureConnection', (socket) => {
      this.callers.push(socket.getPeerX509Certificate()?.subjectAltName ?? '');
      if (socket.isSessionReused()) this.resumed += 1;
      socket.on('error', () => undefined);
      socket.on('data', (chunk: Buffer) => (this.heardBytes += chunk.length));
      if (options.greeting !== undefined) socket.write(options.greeting);
    });
    this.#tls.on('tlsClientError', () => undefined);
    this.#tcp = createTcpServer((socket) => this.#accept(socket));
  }

  get port(): number {
    return (this.#tcp.address() as AddressInfo).port;
  }

  async listen(): Promise<void> {
    const { host = '127.0.0.1', port = 0 } = this.#options;
    await new Promise<void>((resolve) => this.#tcp.listen(port, host, resolve));
  }

  async close(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    await new Promise((resolve) => this.#tcp.close(resolve));
  }

  #accept(socket: Socket): void {
    const connection: { readonly at: number; closedAt: number | null } = { at: performance.now(), closedAt: null };
    this.connections.push(connection);
    this.#sockets.add(socket);
    socket.on('error', () => undefined);
    socket.on('close', () => {
      connection.closedAt = performance.now();
      this.#sockets.delete(socket);
    });
    if (this.mode === 'tarpit') socket.resume();
    else this.#tls.emit('connection', socket);
  }

  #serve(request: IncomingMessage, response: ServerResponse): void {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      const call = JSON.parse(Buffer.concat(chunks).toString()) as ListenerCall;
      this.calls.push(call);
      const { csr } = this.#options;
      if (request.url === LISTENER_PATHS.renewal && csr !== undefined) this.#renew(csr, call, response);
      else if (request.url !== LISTENER_PATHS.heartbeat || request.method !== 'POST') response.writeHead(404).end();
      else this.#answer(call, response);
    });
  }

  #renew(csr: string, call: ListenerCall & { renewed?: unknown }, response: ServerResponse): void {
    if (call.renewed !== undefined) return void response.writeHead(204).end();
    response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify({ protocolVersion: 1, csr }));
  }

  #answer(call: ListenerCall, response: ServerResponse): void {
    const json = { 'content-type': 'application/json' };
    if (this.mode === 'mute') return;
    if (this.mode === 'busy') {
      response.writeHead(409, { 'content-type': 'application/problem+json' });
      response.end(JSON.stringify({ type: '/problems/exchange-in-progress', status: 409 }));
    } else if (this.mode === 'redirect') {
      const { status, location } = this.#options.redirect ?? { status: 307, location: 'https://127.0.0.1:1/' };
      response.writeHead(status, { location }).end();
    } else if (BARE[this.mode] !== undefined) response.writeHead(...BARE[this.mode]!).end();
    else if (ODD_BODIES[this.mode] !== undefined) response.writeHead(200, json).end(ODD_BODIES[this.mode]);
    else if (this.mode === 'huge') response.writeHead(200, json).end(Buffer.alloc(3 * 1024 * 1024, 0x20));
    else if (this.mode === 'half') response.writeHead(200, { ...json, 'content-length': '1000' }).write('{"protocol');
    else if (this.mode === 'drip') this.#drip(response.writeHead(200, json));
    else this.#report(call, response);
  }

  #report(call: ListenerCall, response: ServerResponse): void {
    const { computerId, changes, reports = 1, now } = this.#options;
    const isOver = this.#sequence % reports === 0 && (call.orders ?? call.problem) !== undefined;
    if (isOver) return void response.writeHead(204).end();
    this.#sequence += 1;
    const said = changes?.(call) ?? {};
    const listener = said.listener && { ...said.listener, port: this.port };
    const report = {
      ...steadyReport(now()),
      computerId: this.mode === 'other-report' ? randomUUID() : computerId,
      sequence: this.#sequence,
      ...said,
      ...(listener ? { listener } : {}),
    };
    response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(report));
  }

  /** Writes whenever what was written is gone: as slow as the loop turns, and never at an end. */
  #drip(response: ServerResponse): void {
    if (!response.destroyed) response.write(' ', () => setImmediate(() => this.#drip(response)));
  }
}
