import { parseArgs } from 'node:util';

/** Flags of one command; a value flag takes the next argument, a switch none. */
export interface FlagTable {
  readonly values: readonly string[];
  readonly switches: readonly string[];
  /** Whether arguments that are no flags are words of the command, and no faults. */
  readonly takesWords?: boolean;
}

export interface ReadFlags {
  readonly values: ReadonlyMap<string, string>;
  readonly switches: ReadonlySet<string>;
  /** In their order, before, between and after the flags. */
  readonly words: readonly string[];
  /** Every fault, for a human. */
  readonly faults: readonly string[];
}

/** Reads the flags after a command's name; lists every fault instead of stopping at the first. */
export function readFlags(argv: readonly string[], table: FlagTable): ReadFlags {
  const options = Object.fromEntries([
    ...table.values.map((name) => [name, { type: 'string' as const }]),
    ...table.switches.map((name) => [name, { type: 'boolean' as const }]),
  ]) as Record<string, { type: 'string' | 'boolean' }>;
  const { tokens } = parseArgs({ args: [...argv], options, strict: false, allowPositionals: true, tokens: true });
  const values = new Map<string, string>();
  const switches = new Set<string>();
  const words: string[] = [];
  const faults: string[] = [];
  for (const token of tokens) {
    if (token.kind === 'positional') {
      if (table.takesWords) words.push(token.value);
      else faults.push(`unexpected argument "${withoutUserInfo(token.value)}"`);
    }
    if (token.kind !== 'option') continue;
    const fault = readOption(token, { table, values, switches });
    if (fault) faults.push(fault);
  }
  return { values, switches, words, faults };
}

function readOption(
  token: {
    readonly name: string;
    readonly rawName: string;
    readonly value?: string | undefined;
    readonly inlineValue?: boolean | undefined;
  },
  into: { table: FlagTable; values: Map<string, string>; switches: Set<string> },
): string | undefined {
  const { name, rawName, value } = token;
  const { table, values, switches } = into;
  if (table.switches.includes(name)) {
    switches.add(name);
    return value === undefined ? undefined : `${rawName} takes no value`;
  }
  if (!table.values.includes(name)) return `unknown flag ${rawName}`;
  // A flag in the place of a value is a slip; `--message=--x` says it is meant.
  if (value === undefined || (value.startsWith('--') && !token.inlineValue)) return `${rawName} needs a value`;
  if (values.has(name)) return `${rawName} is given twice`;
  values.set(name, value);
  return undefined;
}

/** The text as it may be shown: whatever may be a user and a password of a URL is left out. */
export function withoutUserInfo(text: string): string {
  return text.includes('@') ? `…@${text.slice(text.lastIndexOf('@') + 1)}` : text;
}
