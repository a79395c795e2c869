import { pino, type Logger, type LevelWithSilent } from 'pino';

/** Messages are constant strings; data goes into fields. `error`: someone must act; `warn`: a handled anomaly. */
export type Log = Logger;

const REDACTED = [
  'password',
  'token',
  'key',
  'secret',
  'authorization',
  'cookie',
  '*.password',
  '*.token',
  '*.key',
  '*.secret',
];

export function createLog(options: { name: string; level: LevelWithSilent; toStderr?: boolean }): Log {
  const base = { name: options.name, level: options.level, redact: { paths: REDACTED, censor: '[redacted]' } };
  return pino(
    { ...base, timestamp: pino.stdTimeFunctions.isoTime },
    pino.destination({ fd: options.toStderr ? 2 : 1, sync: true }),
  );
}
