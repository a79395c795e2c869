/** One command of `wardbeat`. The table of all of them is in `server/main.ts`. */
export interface Command {
  /** The words that call it, such as `admin reset-password`. */
  readonly name: string;
  /** What follows the name in the usage, such as `NAME`. */
  readonly parameters?: string;
  readonly summary: string;
  /** Answers the exit code. `words` is what follows the name. */
  run(words: readonly string[]): Promise<number>;
}

export const EXIT = { ok: 0, failed: 1, usage: 2, dataDirectoryInUse: 5 } as const;

/** The command was called with words that it does not take; the message says which. */
export class UsageError extends Error {
  constructor(message: string) {
    super(message);
    this.name = 'UsageError';
  }
}

/** The command could not do its work, for a reason that its caller can mend; the message tells it in full. */
export class CommandFailed extends Error {
  constructor(message: string) {
    super(message);
    this.name = 'CommandFailed';
  }
}

export interface Call {
  readonly command: Command;
  readonly words: readonly string[];
}

/** The command that the first words name, with the words after them. */
export function findCommand(commands: readonly Command[], argv: readonly string[]): Call | undefined {
  for (const command of commands) {
    const name = command.name.split(' ');
    if (name.every((word, index) => argv[index] === word)) return { command, words: argv.slice(name.length) };
  }
  return undefined;
}

export function renderUsage(commands: readonly Command[]): string {
  const calls = commands.map(({ name, parameters }) => (parameters === undefined ? name : `${name} ${parameters}`));
  const width = Math.max(...calls.map(({ length }) => length));
  const lines = commands.map(({ summary }, index) => `  ${(calls[index] ?? '').padEnd(width)}   ${summary}`);
  return [
    'Usage: wardbeat COMMAND',
    '',
    ...lines,
    '',
    'The environment configures it; the README lists the names. Exit codes: 0 ok, 1 failed, 2 usage or configuration,',
    '5 data directory in use.',
  ].join('\n');
}

export function say(text: string): number {
  process.stdout.write(`${text}\n`);
  return EXIT.ok;
}

export function complain(text: string, code: number): number {
  process.stderr.write(`${text}\n`);
  return code;
}
