import { chmodSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { createServer, type Server, type Socket } from 'node:net';

import { parseBoundedJson } from '../../lib/bounded-json.js';
import type { Log } from '../../lib/log.js';
import { Problem } from '../../lib/problem.js';
import { assertSocketPlace } from '../own-files.js';
import { openSocketPath, type SocketPath } from './socket-path.js';

/** A line of at most this many bytes is a request. */
const MAX_REQUEST_BYTES = 512 * 1024;
const LINE_FEED = 0x0a;
const MAX_CONNECTIONS = 64;

export interface SocketServerOptions {
  readonly folder: string;
  readonly name: string;
  readonly log: Log;
  /** Answers one request; a `Problem` is told to the caller. */
  readonly handle: (request: unknown) => Promise<unknown>;
}

export interface LocalSocketServer {
  close(): Promise<void>;
}

/** Serves one JSON line per connection on a Unix socket of mode 0600. The folder's lock must be held. */
export async function serveLocalSocket(options: SocketServerOptions): Promise<LocalSocketServer> {
  assertSocketPlace(join(options.folder, options.name));
  // Left by a process that was killed; the lock says that nobody else listens on it.
  rmSync(join(options.folder, options.name), { force: true });
  const socketPath = openSocketPath(options.folder, options.name);
  const sockets = new Set<Socket>();
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    sockets.add(socket);
    socket.once('close', () => sockets.delete(socket));
    serve(socket, options);
  });
  server.maxConnections = MAX_CONNECTIONS;
  await listen(server, socketPath);
  chmodSync(socketPath.path, 0o600);
  return {
    close: () =>
      new Promise((resolve) => {
        server.close(() => {
          socketPath.release();
          resolve();
        });
        for (const socket of sockets) socket.destroy();
      }),
  };
}

function listen(server: Server, { path }: SocketPath): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(path, () => {
      server.removeListener('error', reject);
      server.on('error', () => undefined);
      resolve();
    });
  });
}

function serve(socket: Socket, { handle, log }: SocketServerOptions): void {
  const chunks: Buffer[] = [];
  let length = 0;
  socket.on('error', () => undefined);
  socket.on('data', (chunk: Buffer) => {
    chunks.push(chunk);
    length += chunk.length;
    if (length > MAX_REQUEST_BYTES) return void socket.destroy();
    if (!chunk.includes(LINE_FEED)) return undefined;
    socket.removeAllListeners('data');
    socket.resume();
    return void answer(Buffer.concat(chunks), { handle, log }).then((text) => socket.end(`${text}\n`));
  });
  socket.on('end', () => {
    if (!Buffer.concat(chunks).includes(LINE_FEED)) socket.destroy();
  });
}

async function answer(bytes: Buffer, { handle, log }: Pick<SocketServerOptions, 'handle' | 'log'>): Promise<string> {
  try {
    const result = await handle(parseBoundedJson(bytes.subarray(0, bytes.indexOf(LINE_FEED))));
    return JSON.stringify({ result });
  } catch (error) {
    if (error instanceof Problem)
      return JSON.stringify({ error: { code: error.code, detail: error.message, errors: error.facts.errors ?? [] } });
    log.error({ err: error }, 'A local request failed');
    return JSON.stringify({ error: { code: 'internal', detail: 'The agent could not do it', errors: [] } });
  }
}
