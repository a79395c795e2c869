import type { IncomingMessage } from 'node:http';
import { Problem } from './problem.js';
import { tooLarge } from './request-guard.js';

/** One request's share of the budget; held until the request is answered. */
export interface BodyLease {
  take(bytes: number): boolean;
  release(): void;
}

/** Bytes of bodies that are held at once over all connections; what goes over it is turned away. */
export interface BodyBudget {
  lease(): BodyLease;
  /** Bytes held now. */
  held(): number;
}

export function createBodyBudget(limitBytes: number): BodyBudget {
  let held = 0;
  return {
    lease() {
      let taken = 0;
      return {
        take(bytes) {
          if (held + bytes > limitBytes) return false;
          held += bytes;
          taken += bytes;
          return true;
        },
        release() {
          held -= taken;
          taken = 0;
        },
      };
    },
    held: () => held,
  };
}

/** The client went away before its request was complete: nobody is left to answer. */
export class ClientGone extends Error {}

/** Further bytes of a refused body that are read and thrown away, so that the client can still read the answer. */
const DISCARD_BYTES = 8 * 1024 * 1024;

/**
 * Reads a body of at most `maxBytes`, counted while it streams. Throws `body-too-large`, `unavailable` when the budget
 * of all bodies is spent, or `ClientGone`.
 */
export function readBody(request: IncomingMessage, maxBytes: number, lease: BodyLease): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    let size = 0;
    const settle = (finish: () => void): void => {
      request.off('data', onData).off('end', onEnd).off('close', onClose).off('error', onClose);
      finish();
    };
    const onData = (chunk: Buffer): void => {
      if (size + chunk.length > maxBytes) return settle(() => reject(tooLarge(maxBytes)));
      if (!lease.take(chunk.length)) return settle(() => reject(overloaded()));
      size += chunk.length;
      chunks.push(chunk);
    };
    const onEnd = (): void => settle(() => resolve(Buffer.concat(chunks, size)));
    const onClose = (): void => settle(() => reject(new ClientGone('The client closed the connection')));
    request.on('data', onData).on('end', onEnd).on('close', onClose).on('error', onClose);
  });
}

/** Lets an unread rest of a body flow away, up to a limit beyond which the connection is cut. */
export function discardBody(request: IncomingMessage): void {
  if (request.complete || request.destroyed) return;
  let discarded = 0;
  request.on('error', () => undefined);
  request.on('data', (chunk: Buffer) => {
    discarded += chunk.length;
    if (discarded > DISCARD_BYTES) request.destroy();
  });
  request.resume();
}

function overloaded(): Problem {
  return new Problem('unavailable', { detail: 'Too many bodies are being received.', retryAfterSeconds: 2 });
}
