const REDACTED = '[redacted]';
/** Names of members that hold secrets, whatever is in them. */
const SECRET_NAME = /passw|secret|token|credential|authorization|cookie|private|(?:^|[^a-z])key(?:$|[^a-z])|key$|pem$/i;
/** What looks like a secret in any text. */
const SECRET_TEXTS: readonly (readonly [RegExp, string])[] = [
  [/-----BEGIN [A-Z ]*PRIVATE KEY-----[\s\S]*?(?:-----END [A-Z ]*PRIVATE KEY-----|$)/g, REDACTED],
  [/\bwb[a-z]_[\w.~+/=-]+/g, REDACTED],
  [/\b(Bearer|Basic)\s+[\w.~+/=-]+/gi, `$1 ${REDACTED}`],
  [/([a-z][a-z0-9+.-]*:\/\/)[^\s/@"']*:[^\s/@"']*@/gi, `$1${REDACTED}@`],
  [/\b((?:password|passwd|secret|token|apikey|api_key)\s*[=:]\s*)[^\s,;"'}]+/gi, `$1${REDACTED}`],
];
const SHORTEST_KNOWN = 8;

/** Takes secrets out of what leaves the machine: by the names of members, by what they look like, and those that are known. */
export class Redactor {
  readonly #known: readonly string[];

  /** `known`: secrets of this agent; each of their lines is one. */
  constructor(known: readonly (string | undefined)[]) {
    const lines = known.flatMap((secret) => (secret ?? '').split('\n')).map((line) => line.trim());
    this.#known = [...new Set(lines)].filter((line) => line.length >= SHORTEST_KNOWN && !line.startsWith('-----'));
  }

  text(text: string): string {
    const without = this.#known.reduce((rest, secret) => rest.replaceAll(secret, REDACTED), text);
    return SECRET_TEXTS.reduce((rest, [pattern, put]) => rest.replace(pattern, put), without);
  }

  value(value: unknown): unknown {
    if (typeof value === 'string') return this.text(value);
    if (Array.isArray(value)) return value.map((member) => this.value(member));
    if (typeof value !== 'object' || value === null) return value;
    return Object.fromEntries(
      Object.entries(value).map(([name, member]) => [
        this.text(name),
        SECRET_NAME.test(name) && member !== null && typeof member !== 'boolean' ? REDACTED : this.value(member),
      ]),
    );
  }

  /** A line of the log: JSON, or whatever it is. */
  line(line: string): string {
    try {
      return this.text(JSON.stringify(this.value(JSON.parse(line))));
    } catch {
      return this.text(line);
    }
  }
}
