import { pino, type Logger, type LevelWithSilent } from 'pino';
import { errorFacts } from './error-facts.js';

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

/** Controls, separators and marks of direction that JSON leaves as they are and a terminal obeys. */
const UNSEEN = /[\u007f-\u009f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]/g;

/** A line of JSON that says the same and shows every character: what a stranger sent is only ever text. */
export function escapeUnseen(line: string): string {
  return line.replace(UNSEEN, (mark) => `\\u${mark.charCodeAt(0).toString(16).padStart(4, '0')}`);
}

export interface LogOptions {
  readonly name: string;
  readonly level: LevelWithSilent;
  readonly toStderr?: boolean;
  /** Each line begins with its syslog priority, `<N>`, which the journal takes off again (sd-daemon(3)). */
  readonly toJournal?: boolean;
  /** Told of every line that is written. */
  readonly onLine?: (line: string) => void;
}

const LEVEL = /^\{"level":(\d+)/;
const CRITICAL = 2;
/** The lowest level of each priority, the highest first. */
const PRIORITIES = [
  { from: 60, priority: CRITICAL },
  { from: 50, priority: 3 },
  { from: 40, priority: 4 },
  { from: 30, priority: 6 },
  { from: 0, priority: 7 },
];

/** The line as the journal reads it: syslog(3)'s priority before it. */
export function withPriority(line: string): string {
  const level = Number(LEVEL.exec(line)?.[1] ?? 0);
  return `<${PRIORITIES.find(({ from }) => level >= from)?.priority ?? CRITICAL}>${line}`;
}

export function createLog(options: LogOptions): Log {
  const base = { name: options.name, level: options.level, redact: { paths: REDACTED, censor: '[redacted]' } };
  const serializers = { err: (error: unknown) => (error instanceof Error ? errorFacts(error) : error) };
  const streamWrite = (line: string): string => {
    const shown = escapeUnseen(line);
    options.onLine?.(shown);
    return options.toJournal ? withPriority(shown) : shown;
  };
  return pino(
    { ...base, serializers, timestamp: pino.stdTimeFunctions.isoTime, hooks: { streamWrite } },
    pino.destination({ fd: options.toStderr ? 2 : 1, sync: true }),
  );
}
