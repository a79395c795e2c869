import { NamedFields, type FieldError } from './problem.js';
import { escapePointer } from './schema.js';

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
/** With a blank before a colon, or a name that ends in a backslash, names cannot be counted by their ends. */
const UNCOUNTABLE = [' :', '\t:', '\n:', '\r:', String.raw`\\":`];

/**
 * The members that a JSON text names more than once, each as often as it is repeated, as many as one document names;
 * `parsed` is what JSON.parse made of the very text, which keeps the last of each and tells nothing of the others.
 */
export function repeatedMembers(text: string, parsed: unknown): readonly FieldError[] {
  // To count what was parsed and what was written costs a fraction of reading the text once more.
  const isCounted = !UNCOUNTABLE.some((sign) => text.includes(sign)) && namesIn(text) === membersIn(parsed);
  return isCounted ? [] : findRepeated(text);
}

/** Names end in a quote and a colon; within a string the quote would have a backslash before it. */
function namesIn(text: string): number {
  let count = 0;
  for (let at = text.indexOf(':'); at !== -1; at = text.indexOf(':', at + 1))
    if (text.charCodeAt(at - 1) === QUOTE && text.charCodeAt(at - 2) !== BACKSLASH) count += 1;
  return count;
}

function membersIn(value: unknown): number {
  let count = 0;
  if (typeof value !== 'object' || value === null) return count;
  if (Array.isArray(value)) {
    for (const member of value) if (typeof member === 'object' && member !== null) count += membersIn(member);
    return count;
  }
  for (const key in value) {
    const member = (value as Record<string, unknown>)[key];
    count += 1;
    if (typeof member === 'object' && member !== null) count += membersIn(member);
  }
  return count;
}

/** One object or array that is being read. */
interface Level {
  readonly pointer: string;
  readonly isObject: boolean;
  /** The names so far, from the second on. */
  names: Set<string> | undefined;
  /** Of what is being read in it. */
  at: string | undefined;
  index: number;
}

const SIGNS = /["{}[\],]/g;

/** Reads a text that is known to be JSON, sign by sign. */
function findRepeated(text: string): readonly FieldError[] {
  const repeated = new NamedFields();
  const levels: Level[] = [];
  const signs = new RegExp(SIGNS);
  for (let found = signs.exec(text); found && !repeated.isFull; found = signs.exec(text)) {
    const level = levels.at(-1);
    const [sign] = found;
    if (sign === '"') {
      signs.lastIndex = endOfString(text, found.index + 1);
      if (level?.isObject && isName(text, signs.lastIndex))
        note(level, decoded(text.slice(found.index, signs.lastIndex)), repeated);
    } else if (sign === ',') step(level);
    else if (sign === '}' || sign === ']') levels.pop();
    else levels.push(levelIn(level, sign === '{'));
  }
  return repeated.errors;
}

function step(level: Level | undefined): void {
  if (level) level.index += 1;
}

function levelIn(level: Level | undefined, isObject: boolean): Level {
  return { pointer: level ? pointerOf(level) : '#', isObject, names: undefined, at: undefined, index: 0 };
}

/** Behind the quote that ends a string. */
function endOfString(text: string, from: number): number {
  for (let at = text.indexOf('"', from); ; at = text.indexOf('"', at + 1)) {
    let backslashes = 0;
    while (text.charCodeAt(at - 1 - backslashes) === BACKSLASH && at - 1 - backslashes >= from) backslashes += 1;
    if (at === -1 || backslashes % 2 === 0) return at === -1 ? text.length : at + 1;
  }
}

function decoded(token: string): string {
  return token.includes('\\') ? (JSON.parse(token) as string) : token.slice(1, -1);
}

function pointerOf({ pointer, isObject, at = '', index }: Level): string {
  return `${pointer}/${isObject ? escapePointer(at) : index}`;
}

function isName(text: string, from: number): boolean {
  let index = from;
  while (' \t\r\n'.includes(text[index] ?? 'x')) index += 1;
  return text[index] === ':';
}

function note(level: Level, name: string, repeated: NamedFields): void {
  const before = level.at;
  level.at = name;
  if (before === undefined) return;
  level.names ??= new Set([before]);
  if (level.names.has(name)) repeated.add({ pointer: pointerOf(level), detail: 'must be given once' });
  level.names.add(name);
}
