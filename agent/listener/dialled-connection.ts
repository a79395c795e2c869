import type { ServerResponse } from 'node:http';

import { AGENT_PATHS, PROTOCOL_VERSION } from '../../protocol/protocol-version.js';
import type { ListenerCall } from '../../protocol/listener-messages.js';
import type { Carrier } from '../direction-rules.js';
import { toRefusal, type ManagerConnection } from '../transport/tls-connection.js';
import { TransportError } from '../transport/transport-error.js';

export interface DialledOptions {
  readonly carrier: Carrier;
  readonly warning: TransportError | undefined;
}

interface Awaiting {
  readonly resolve: (orders: unknown) => void;
  readonly reject: (error: unknown) => void;
}

/**
 * A connection that the manager opened, seen from the exchange: `post` answers the call that waits with the report, and
 * resolves with the orders that the next call carries.
 */
export class DialledConnection implements ManagerConnection {
  readonly managerUrl = undefined;
  readonly carrier: Carrier;
  readonly warning: TransportError | undefined;
  /** The call that has no answer yet. */
  #call: ServerResponse | undefined;
  /** The report that has no orders yet. */
  #report: Awaiting | undefined;
  #isLost = false;

  constructor(first: ServerResponse, { carrier, warning }: DialledOptions) {
    this.#call = first;
    this.carrier = carrier;
    this.warning = warning;
  }

  post(path: string, body: string, signal: AbortSignal): Promise<unknown> {
    const call = this.#call;
    this.#call = undefined;
    return new Promise((resolve, reject) => {
      if (this.#isLost || !call) return reject(new TransportError('reset', 'The manager closed the connection'));
      const abort = (): void => reject(signal.reason as Error);
      if (signal.aborted) return abort();
      signal.addEventListener('abort', abort, { once: true });
      const settle = (finish: () => void): void => {
        signal.removeEventListener('abort', abort);
        this.#report = undefined;
        finish();
      };
      this.#report = {
        resolve: (orders) => settle(() => resolve(orders)),
        reject: (error) => settle(() => reject(error as Error)),
      };
      sendReport(call, path === AGENT_PATHS.upload ? asUpload(body) : body);
    });
  }

  /** Takes the call that answers the report; false where no report waits for one. */
  deliver({ orders, uploaded, problem }: ListenerCall, call: ServerResponse): boolean {
    const report = this.#report;
    if (!report || this.#call) return false;
    this.#call = call;
    if (problem) report.reject(toRefusal(problem, { ...problem, retryAfter: problem.retryAfterSeconds }));
    else report.resolve(orders ?? uploaded);
    return true;
  }

  /** The peer is gone. */
  lose(): void {
    this.#isLost = true;
    this.#report?.reject(new TransportError('reset', 'The manager closed the connection'));
  }

  /** Nothing is left to say: hands over the call that waits, if any. */
  takeCall(): ServerResponse | undefined {
    const call = this.#call;
    this.#call = undefined;
    return call;
  }

  close(): void {
    this.lose();
  }
}

/** In place of a report (protocol/listener-messages.ts). */
function asUpload(body: string): string {
  return `{"protocolVersion":${PROTOCOL_VERSION},"upload":${body}}`;
}

function sendReport(call: ServerResponse, body: string): void {
  const bytes = Buffer.from(body);
  call.writeHead(200, {
    'Content-Type': 'application/json',
    'Content-Length': bytes.length,
    'Cache-Control': 'no-store',
  });
  call.end(bytes);
}
