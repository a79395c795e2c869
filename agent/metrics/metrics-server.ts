import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Registry } from 'prom-client';

import type { Log } from '../../lib/log.js';

export interface MetricsServerOptions {
  /** 0 picks a free one. */
  readonly port: number;
  readonly registry: Registry;
  readonly log: Log;
}

export interface MetricsServer {
  readonly port: number;
  close(): Promise<void>;
}

/** Never another: what it tells is for programs of this computer. */
const LOOPBACK = '127.0.0.1';
const MAX_CONNECTIONS = 16;
const REQUEST_MS = 5000;
/** A page that a browser of this computer shows must not read it under a name of its own. */
const HOSTS = /^(?:127\.0\.0\.1|localhost|\[::1\])(?::\d{1,5})?$/;

/** Serves `GET /metrics` in the text format of Prometheus. Throws where the port is taken. */
export async function serveMetrics({ port, registry, log }: MetricsServerOptions): Promise<MetricsServer> {
  const server = createServer(
    { requestTimeout: REQUEST_MS, headersTimeout: REQUEST_MS, keepAliveTimeout: REQUEST_MS, maxHeaderSize: 8192 },
    (request, response) => {
      answer(request, response, registry).catch((error: unknown) => {
        log.error({ err: error }, 'The metrics cannot be told');
        response.destroy();
      });
    },
  );
  server.maxConnections = MAX_CONNECTIONS;
  await listen(server, port);
  const bound = (server.address() as AddressInfo).port;
  log.info({ port: bound }, 'Metrics are served on loopback');
  return {
    port: bound,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

function listen(server: Server, port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, LOOPBACK, () => {
      server.removeListener('error', reject);
      server.on('error', () => undefined);
      resolve();
    });
  });
}

async function answer(request: IncomingMessage, response: ServerResponse, registry: Registry): Promise<void> {
  const status = statusOf(request);
  request.resume();
  if (status !== 200) return void response.writeHead(status, { 'Content-Type': 'text/plain' }).end('\n');
  const text = await registry.metrics();
  response.writeHead(200, { 'Content-Type': registry.contentType, 'Cache-Control': 'no-store' });
  response.end(request.method === 'HEAD' ? '' : text);
}

function statusOf({ method, url, headers }: IncomingMessage): number {
  if (!HOSTS.test(headers.host ?? '')) return 421;
  if (url?.split('?', 1)[0] !== '/metrics') return 404;
  return method === 'GET' || method === 'HEAD' ? 200 : 405;
}
