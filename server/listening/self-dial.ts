import { connect } from 'node:tls';
import { TLS_OPTIONS } from '../../certs/tls-profile.js';
import type { Clock } from '../../lib/clock.js';

export interface SelfDialTarget {
  readonly host: string;
  readonly port: number;
}

/**
 * One TLS handshake with the own agent port, as an agent begins it. Null when it was completed, else what failed:
 * `connect ECONNREFUSED` where the kernel knows no listener, `handshake …` where the process does not answer. What the
 * certificate says is not judged: a wall clock that is wrong here stands in nobody's way.
 */
export async function dialOnce(
  clock: Clock,
  { host, port }: SelfDialTarget,
  timeoutMs: number,
): Promise<string | null> {
  const over = new AbortController();
  let phase: 'connect' | 'handshake' = 'connect';
  const socket = connect({ ...TLS_OPTIONS, host, port, rejectUnauthorized: false });
  const ended = new Promise<string | null>((resolve) => {
    socket.once('connect', () => (phase = 'handshake'));
    socket.once('secureConnect', () => resolve(null));
    socket.on('error', ({ code }: NodeJS.ErrnoException) => resolve(`${phase} ${code ?? 'failed'}`));
    socket.once('close', () => resolve(`${phase} closed`));
  });
  const late = clock.sleep(timeoutMs, over.signal).then(
    () => `${phase} timeout`,
    () => null,
  );
  const fault = await Promise.race([ended, late]);
  over.abort();
  if (fault === null) socket.destroySoon();
  else socket.destroy();
  return fault;
}
