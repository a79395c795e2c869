import { connect } from 'node:net';

import type { Clock } from '../../lib/clock.js';
import { isPlainObject } from '../../lib/schema.js';
import { withDeadline } from '../deadline.js';
import { openSocketPath } from './socket-path.js';

/** No agent runs on the directory. */
export class AgentNotRunning extends Error {}

/** The running agent refused. */
export class LocalRefusal extends Error {
  constructor(
    readonly code: string,
    detail: string,
    readonly errors: readonly string[],
  ) {
    super(detail);
  }
}

export interface LocalCall {
  readonly folder: string;
  readonly name: string;
  readonly clock: Clock;
  readonly milliseconds: number;
}

const ABSENT = new Set(['ENOENT', 'ECONNREFUSED', 'ENOTDIR', 'EACCES']);

/** Asks the running agent of a directory; throws `AgentNotRunning` or `LocalRefusal`. */
export async function callAgent({ folder, name, clock, milliseconds }: LocalCall, request: unknown): Promise<unknown> {
  const line = await withDeadline({ clock, milliseconds }, (signal) => exchangeLine({ folder, name, signal }, request));
  const answer: unknown = JSON.parse(line);
  if (!isPlainObject(answer)) throw new AgentNotRunning('The agent ended before it answered');
  if (isPlainObject(answer['error'])) throw toRefusal(answer['error']);
  return answer['result'];
}

function toRefusal(error: Record<string, unknown>): LocalRefusal {
  const faults = Array.isArray(error['errors']) ? error['errors'].filter(isPlainObject) : [];
  return new LocalRefusal(
    String(error['code']),
    String(error['detail']),
    faults.map((fault) => `${String(fault['pointer'])} ${String(fault['detail'])}`),
  );
}

function exchangeLine(
  { folder, name, signal }: { folder: string; name: string; signal: AbortSignal },
  request: unknown,
): Promise<string> {
  return new Promise((resolve, reject) => {
    let socketPath: ReturnType<typeof openSocketPath>;
    try {
      socketPath = openSocketPath(folder, name);
    } catch (error) {
      reject(new AgentNotRunning('No agent runs on this directory', { cause: error }));
      return;
    }
    const socket = connect(socketPath.path);
    const chunks: Buffer[] = [];
    const abort = (): void => void socket.destroy(signal.reason as Error);
    signal.addEventListener('abort', abort, { once: true });
    socket.on('connect', () => socket.write(`${JSON.stringify(request)}\n`));
    socket.on('data', (chunk: Buffer) => chunks.push(chunk));
    socket.on('error', (error: NodeJS.ErrnoException) =>
      reject(ABSENT.has(error.code ?? '') ? new AgentNotRunning('No agent runs on this directory') : error),
    );
    socket.on('close', () => {
      signal.removeEventListener('abort', abort);
      socketPath.release();
      const text = Buffer.concat(chunks).toString('utf8');
      if (text.endsWith('\n')) resolve(text);
      else reject(new AgentNotRunning('The agent ended before it answered'));
    });
  });
}
