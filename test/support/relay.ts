import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';

export interface RelayOptions {
  /** On this machine; or the one that each connection is to go to, undefined where there is none now: it is reset then. */
  readonly port: number | (() => number | undefined);
  /** The address of this machine that connections go on from: any of 127.0.0.0/8, so that a site has a subnet of its own. */
  readonly from?: string;
  /** Of all connections, this share is reset at a byte that chance picks. */
  readonly cutShare?: number;
}

/** A network path on this machine that can be disturbed: TCP connections to its port go on to another. */
export interface Relay {
  readonly port: number;
  /** As when the cable is cut: nothing passes, and nobody is told. What was sent meanwhile arrives at the release, as TCP sends again. */
  hold(): void;
  release(): void;
  /** From now on what a client sends arrives so much later. */
  delayBy(milliseconds: number): void;
  /** Connections so far, and how many of them were reset. */
  counts(): { readonly connections: number; readonly cut: number };
  close(): Promise<void>;
}

const CUT_WITHIN_BYTES = 5000;

export async function startRelay(options: RelayOptions): Promise<Relay> {
  const relay = new TcpRelay(options);
  await relay.listen();
  return relay;
}

class TcpRelay implements Relay {
  readonly #options: RelayOptions;
  readonly #server = createServer({ allowHalfOpen: true, pauseOnConnect: true }, (client) => this.#accept(client));
  readonly #sockets = new Set<Socket>();
  #waiting: Socket[] = [];
  #isHeld = false;
  #delayMs = 0;
  #connections = 0;
  #cut = 0;

  constructor(options: RelayOptions) {
    this.#options = options;
  }

  async listen(): Promise<void> {
    this.#server.listen({ host: '127.0.0.1', port: 0, backlog: 4096 });
    await once(this.#server, 'listening');
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  counts() {
    return { connections: this.#connections, cut: this.#cut };
  }

  hold(): void {
    this.#isHeld = true;
    for (const socket of this.#sockets) socket.pause();
  }

  release(): void {
    this.#isHeld = false;
    for (const socket of this.#sockets) socket.resume();
    for (const client of this.#waiting.splice(0)) this.#connect(client);
  }

  delayBy(milliseconds: number): void {
    this.#delayMs = milliseconds;
  }

  async close(): Promise<void> {
    for (const socket of [...this.#sockets, ...this.#waiting]) socket.destroy();
    this.#server.close();
    await once(this.#server, 'close');
  }

  #accept(client: Socket): void {
    this.#connections += 1;
    client.on('error', () => undefined);
    if (this.#isHeld) this.#waiting.push(client);
    else this.#connect(client);
  }

  #connect(client: Socket): void {
    const { from, cutShare = 0 } = this.#options;
    const port = this.#port();
    if (port === undefined) {
      client.resetAndDestroy();
      return;
    }
    const local = from === undefined ? {} : { localAddress: from };
    const server = connect({ host: '127.0.0.1', port, allowHalfOpen: true, ...local });
    let left = Math.random() < cutShare ? Math.ceil(Math.random() * CUT_WITHIN_BYTES) : Number.POSITIVE_INFINITY;
    const admit = (chunk: Buffer): boolean => {
      left -= chunk.length;
      if (left > 0) return true;
      if (!client.destroyed) this.#cut += 1;
      client.resetAndDestroy();
      server.resetAndDestroy();
      return false;
    };
    this.#pump({ from: client, to: server, admit, delayMs: () => this.#delayMs });
    this.#pump({ from: server, to: client, admit, delayMs: () => 0 });
  }

  #port(): number | undefined {
    const { port } = this.#options;
    return typeof port === 'number' ? port : port();
  }

  /** Bytes keep their order whatever each is delayed by. */
  #pump({ from, to, admit, delayMs }: Pump): void {
    let passing = Promise.resolve();
    const next = (step: () => void): void => {
      const dueAt = performance.now() + delayMs();
      passing = passing.then(async () => {
        if (dueAt > performance.now()) await delay(dueAt - performance.now());
        step();
      });
    };
    this.#sockets.add(from);
    from.on('data', (chunk: Buffer) => next(() => void (admit(chunk) && this.#write({ from, to, chunk }))));
    from.on('end', () => next(() => to.end()));
    from.on('error', () => undefined);
    from.on('close', () => {
      this.#sockets.delete(from);
      next(() => to.destroySoon());
    });
    if (!this.#isHeld) from.resume();
  }

  #write({ from, to, chunk }: { readonly from: Socket; readonly to: Socket; readonly chunk: Buffer }): void {
    if (to.destroyed || to.write(chunk)) return;
    from.pause();
    to.once('drain', () => void (this.#isHeld || from.resume()));
  }
}

interface Pump {
  readonly from: Socket;
  readonly to: Socket;
  readonly admit: (chunk: Buffer) => boolean;
  readonly delayMs: () => number;
}
