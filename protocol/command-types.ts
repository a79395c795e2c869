import type { FieldError } from '../lib/problem.js';
import { isolationPeer } from '../policies/firewall-rules.js';
import { array, escapePointer, integer, isPlainObject, oneOf, type Schema } from '../lib/schema.js';

/** What one type of command takes, and how it may be treated. */
export interface CommandRules {
  /** Arguments by name; all may be left out. */
  readonly args: Readonly<Record<string, Schema<unknown>>>;
  /** Whether it may run once more where the agent ended while it ran. */
  readonly isRepeatable: boolean;
  /** It is given up after so long. */
  readonly limitMs: number;
  /** Whether it runs though the disk takes no word of it. It must be repeatable. */
  readonly runsWithoutDisk?: boolean;
}

const SECOND_MS = 1000;
const quick = (args: CommandRules['args'] = {}): CommandRules => ({
  args,
  isRepeatable: true,
  limitMs: 30 * SECOND_MS,
});
const urgent = (args: CommandRules['args'] = {}): CommandRules => ({ ...quick(args), runsWithoutDisk: true });
const once = (args: CommandRules['args'] = {}): CommandRules => ({ ...quick(args), isRepeatable: false });
const long = (args: CommandRules['args']): CommandRules => ({ ...quick(args), limitMs: 300 * SECOND_MS });

/** Of an isolated computer's peers. */
const MOST_ALLOWED = 50;

export const COMMAND_LOG_LEVELS = ['debug', 'info', 'warn', 'error'] as const;

/** Every type of command; docs/operations.md says what each does. */
export const COMMAND_TYPES = {
  ping: quick(),
  'heartbeat-now': quick(),
  'get-config': quick(),
  'reload-config': quick(),
  'restart-agent': { args: {}, isRepeatable: false, limitMs: 60 * SECOND_MS },
  'restart-collector': quick(),
  'start-collection': quick(),
  'stop-collection': quick(),
  'collect-diagnostics': long({ lines: integer(0, 5000) }),
  'upload-logs': long({ lines: integer(1, 20_000) }),
  'rotate-certificate': { ...once(), limitMs: 120 * SECOND_MS },
  'set-log-level': quick({ level: oneOf(...COMMAND_LOG_LEVELS), seconds: integer(60, 86_400) }),
  isolate: urgent({ allow: array(isolationPeer, MOST_ALLOWED) }),
  release: urgent(),
} as const satisfies Readonly<Record<string, CommandRules>>;

export type CommandType = keyof typeof COMMAND_TYPES;
export const COMMAND_TYPE_NAMES = Object.keys(COMMAND_TYPES) as readonly CommandType[];

export function isCommandType(type: string): type is CommandType {
  return Object.hasOwn(COMMAND_TYPES, type);
}

export function rulesOf(type: CommandType): CommandRules {
  return COMMAND_TYPES[type];
}

/** Everything that is wrong with the arguments of a command, at pointers below `pointer`. */
export function argumentFaults(type: CommandType, args: unknown, pointer = '#/args'): FieldError[] {
  if (!isPlainObject(args)) return [{ pointer, detail: 'must be an object' }];
  const { args: known } = rulesOf(type);
  const names = Object.keys(known).join(', ');
  return Object.entries(args).flatMap(([name, value]) => {
    const at = `${pointer}/${escapePointer(name)}`;
    const schema = Object.hasOwn(known, name) ? known[name] : undefined;
    if (!schema)
      return [
        { pointer: at, detail: names === '' ? `${type} takes no arguments` : `is not known here; known are ${names}` },
      ];
    const errors: FieldError[] = [];
    schema(value, at, errors);
    return errors;
  });
}
