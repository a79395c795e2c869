import { createPrivateKey, X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { isIP } from 'node:net';

export type Environment = Readonly<Record<string, string | undefined>>;

interface Rule {
  /** Ends the sentence "NAME must be …". */
  readonly says: string;
  readonly accepts: (text: string) => boolean;
}

export interface TlsFiles {
  readonly certPath: string;
  readonly keyPath: string;
}

/** Reads typed values from an environment; a bad value adds a fault and answers the fallback, so that all are found. */
export class EnvironmentReader {
  constructor(
    private readonly env: Environment,
    private readonly faults: string[],
  ) {}

  text(name: string, fallback: string): string {
    return this.raw(name) ?? fallback;
  }

  port(name: string, fallback: number): number {
    const says = 'a port from 0 to 65535 (0 picks a free one)';
    return this.number(name, fallback, { says, accepts: (text) => /^\d{1,5}$/.test(text) && Number(text) <= 65_535 });
  }

  /** From 0 to `most`. */
  integer(name: string, fallback: number, most: number): number {
    const accepts = (text: string): boolean => /^\d{1,9}$/.test(text) && Number(text) <= most;
    return this.number(name, fallback, { says: `a whole number from 0 to ${most}`, accepts });
  }

  minutes(name: string, fallback: number, most: number): number {
    const accepts = (text: string): boolean => /^\d{1,9}$/.test(text) && Number(text) >= 1 && Number(text) <= most;
    return this.number(name, fallback, { says: `a whole number of minutes from 1 to ${most}`, accepts });
  }

  rate(name: string, fallback: number): number {
    const says = 'a number per second from 0.01 to 100000';
    return this.number(name, fallback, { says, accepts: (text) => Number(text) >= 0.01 && Number(text) <= 100_000 });
  }

  choice<const T extends string>(name: string, fallback: T, choices: readonly T[]): T {
    const text = this.raw(name) ?? fallback;
    return choices.includes(text as T) ? (text as T) : this.fault(name, `one of ${choices.join(', ')}`, fallback);
  }

  /** A list, separated by commas; all choices when absent. */
  choices<const T extends string>(name: string, choices: readonly T[]): readonly T[] {
    const list = this.list(name);
    if (list.length === 0) return choices;
    const known = list.filter((part): part is T => choices.includes(part as T));
    return known.length === list.length ? known : this.fault(name, `a list of ${choices.join(', ')}`, choices);
  }

  matching(name: string, fallback: string, { pattern, says }: { pattern: RegExp; says: string }): string {
    const text = this.raw(name) ?? fallback;
    return pattern.test(text) ? text : this.fault(name, says, fallback);
  }

  host(name: string): string | undefined {
    const text = this.raw(name);
    if (text === undefined || isHost(text)) return text;
    return this.fault(name, 'a host name or address without a port', undefined);
  }

  hosts(name: string): readonly string[] {
    const list = this.list(name);
    return list.every(isHost) ? list : this.fault(name, 'host names or addresses, separated by commas', []);
  }

  /** Networks such as `10.0.0.0/8` or `fd00::/8`; undefined when absent. */
  cidrs(name: string): readonly string[] | undefined {
    if (this.raw(name) === undefined) return undefined;
    const list = this.list(name);
    const bad = list.filter((part) => !isCidr(part));
    for (const part of bad) this.fault(name, `networks like 10.0.0.0/8, separated by commas: not ${part}`, undefined);
    return bad.length === 0 ? list : undefined;
  }

  origin(name: string): string | undefined {
    const text = this.raw(name);
    if (text === undefined) return undefined;
    const origin = URL.canParse(text) ? new URL(text).origin : undefined;
    return origin === text ? text : this.fault(name, 'an origin like https://wardbeat.example.org', undefined);
  }

  /** A certificate and its key in PEM: both or neither, both readable, and made for each other. */
  tlsFiles(certName: string, keyName: string): TlsFiles | undefined {
    const [certPath, keyPath] = [this.readablePath(certName), this.readablePath(keyName)];
    if (certPath !== undefined && keyPath !== undefined)
      return this.matchingFiles([certName, keyName], certPath, keyPath);
    if (this.raw(certName) === undefined && this.raw(keyName) === undefined) return undefined;
    if (this.raw(certName) === undefined) return this.fault(certName, `given together with ${keyName}`, undefined);
    if (this.raw(keyName) === undefined) return this.fault(keyName, `given together with ${certName}`, undefined);
    return undefined;
  }

  private matchingFiles(names: readonly [cert: string, key: string], certPath: string, keyPath: string) {
    const [certName, keyName] = names;
    const certificate = attempt(() => new X509Certificate(readFileSync(certPath)));
    const key = attempt(() => createPrivateKey(readFileSync(keyPath)));
    if (!certificate) this.fault(certName, 'a file with a certificate in PEM, followed by its chain', undefined);
    if (!key) this.fault(keyName, 'a file with a private key in PEM, not encrypted', undefined);
    if (!certificate || !key) return undefined;
    if (certificate.checkPrivateKey(key)) return { certPath, keyPath };
    return this.fault(keyName, `the key of the first certificate in ${certName}`, undefined);
  }

  /** A secret given directly or by `NAME_FILE`; its value is in no fault. */
  secret(name: string, { says, accepts }: Rule): string | undefined {
    const [direct, path] = [this.raw(name), this.readablePath(`${name}_FILE`)];
    if (direct !== undefined && this.raw(`${name}_FILE`) !== undefined)
      return this.fault(name, `given either directly or by ${name}_FILE`, undefined);
    const text = direct ?? (path === undefined ? undefined : readFileSync(path, 'utf8').trimEnd());
    return text === undefined || accepts(text) ? text : this.fault(name, says, undefined);
  }

  private readablePath(name: string): string | undefined {
    const path = this.raw(name);
    if (path === undefined) return undefined;
    try {
      readFileSync(path);
      return path;
    } catch {
      return this.fault(name, 'a file that can be read', undefined);
    }
  }

  private number(name: string, fallback: number, { says, accepts }: Rule): number {
    const text = this.raw(name)?.trim();
    if (text === undefined) return fallback;
    return text !== '' && accepts(text) ? Number(text) : this.fault(name, says, fallback);
  }

  private list(name: string): readonly string[] {
    return (this.raw(name) ?? '')
      .split(',')
      .map((part) => part.trim())
      .filter((part) => part !== '');
  }

  private raw(name: string): string | undefined {
    return this.env[name] === '' ? undefined : this.env[name];
  }

  private fault<T>(name: string, says: string, fallback: T): T {
    this.faults.push(`${name} must be ${says}`);
    return fallback;
  }
}

function attempt<T>(work: () => T): T | undefined {
  try {
    return work();
  } catch {
    return undefined;
  }
}

function isHost(text: string): boolean {
  return isIP(text) !== 0 || /^[a-zA-Z0-9]([a-zA-Z0-9.-]{0,251}[a-zA-Z0-9])?$/.test(text);
}

function isCidr(text: string): boolean {
  const [, address = '', prefix = ''] = /^([0-9A-Fa-f:.]+)\/(\d{1,3})$/.exec(text) ?? [];
  const family = isIP(address);
  return family !== 0 && Number(prefix) <= (family === 4 ? 32 : 128);
}
