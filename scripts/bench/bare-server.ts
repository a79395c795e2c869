import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { WebSocketServer } from 'ws';
import { TLS_OPTIONS } from '../../certs/tls-profile.js';
import type { BareServerOptions } from './load-messages.js';

/**
 * A process of its own that is as little as Node can be with the same handshake and bodies: it reads the report and
 * answers filling, over requests and over channels.
 */

const KEEP_ALIVE_MS = 600_000;

function listen({ keyPem, certPem, rootPem, answerBytes }: BareServerOptions): void {
  const filling = Buffer.alloc(answerBytes, 0x20);
  const server = createServer(
    { ...TLS_OPTIONS, key: keyPem, cert: certPem, ca: rootPem, requestCert: true, rejectUnauthorized: true },
    (request, response) => {
      request.on('data', () => undefined);
      request.on('end', () => {
        response.writeHead(200, {
          'Content-Type': 'application/json',
          'Content-Length': filling.length,
          'Cache-Control': 'no-store',
        });
        response.end(filling);
      });
    },
  );
  server.keepAliveTimeout = KEEP_ALIVE_MS;
  const text = filling.toString('latin1');
  const channels = new WebSocketServer({ noServer: true, perMessageDeflate: false, clientTracking: false });
  server.on('upgrade', (request, socket, head) =>
    channels.handleUpgrade(request, socket, head, (channel) => channel.on('message', () => channel.send(text))),
  );
  server.listen(0, '127.0.0.1', () => process.send?.((server.address() as AddressInfo).port));
}

process.once('message', listen);
process.on('disconnect', () => process.exit(0));
