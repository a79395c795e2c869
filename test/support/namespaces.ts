import { execFileSync, spawn, type ChildProcess } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';

import type { ChildRequest } from './namespace-child.js';

const find = (name: string): string | undefined =>
  ['/usr/sbin', '/sbin', '/usr/bin', '/bin'].map((folder) => join(folder, name)).find((path) => existsSync(path));
const IP = find('ip');
const NFT = find('nft');

/** What is missing for tests with real packets; undefined where nothing is. */
export function namespacesMissing(): string | undefined {
  if (process.getuid?.() !== 0) return 'root, for network namespaces';
  if (!IP) return 'ip of iproute2';
  if (!NFT) return 'nft of nftables';
  const probe = `wb-probe-${process.pid}`;
  try {
    ip('netns', 'add', probe);
    ip('netns', 'del', probe);
    return undefined;
  } catch {
    return 'a kernel that makes network namespaces';
  }
}

export function ip(...args: readonly string[]): string {
  return execFileSync(IP ?? 'ip', [...args], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
}

/** One end of a link. */
export interface LinkEnd {
  readonly space: Namespace | undefined;
  readonly device: string;
  readonly mac: string;
  readonly addresses: readonly string[];
}

let made = 0;

/** A network namespace of this test's own, with a process in it that sends and takes packets. */
export class Namespace {
  readonly name: string;
  #child: ChildProcess | undefined;
  #count = 0;
  readonly #waiting = new Map<number, (result: string) => void>();

  constructor(name: string) {
    made += 1;
    this.name = `wb-${process.pid}-${made}-${name}`;
    ip('netns', 'add', this.name);
    this.ip('link', 'set', 'lo', 'up');
  }

  ip(...args: readonly string[]): string {
    return ip('-n', this.name, ...args);
  }

  nft(...args: readonly string[]): string {
    return execFileSync(IP ?? 'ip', ['netns', 'exec', this.name, NFT ?? 'nft', ...args], {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'pipe'],
    });
  }

  /** The words that run a program in here. */
  words(program: string, args: readonly string[]): readonly [string, readonly string[]] {
    return [IP ?? 'ip', ['netns', 'exec', this.name, program, ...args]];
  }

  ask(request: Omit<ChildRequest, 'id'>): Promise<string> {
    const child = (this.#child ??= this.#spawn());
    this.#count += 1;
    const id = this.#count;
    return new Promise((resolve) => {
      this.#waiting.set(id, resolve);
      child.stdin?.write(`${JSON.stringify({ id, ...request })}\n`);
    });
  }

  #spawn(): ChildProcess {
    const [program, args] = this.words(process.execPath, ['dist/test/support/namespace-child.js']);
    const child = spawn(program, [...args], { stdio: ['pipe', 'pipe', 'inherit'] });
    createInterface({ input: child.stdout }).on('line', (line) => {
      const { id, result } = JSON.parse(line) as { id: number; result: string };
      this.#waiting.get(id)?.(result);
    });
    return child;
  }

  remove(): void {
    this.#child?.kill('SIGKILL');
    ip('netns', 'del', this.name);
  }
}

function failureOf(act: () => unknown): readonly unknown[] {
  try {
    act();
    return [];
  } catch (error) {
    return [error];
  }
}

/** Everything that a test made of the network, removed whatever happens. */
export class NetworkWorld {
  readonly folder = mkdtempSync(join(tmpdir(), 'wardbeat-net-'));
  readonly #spaces: Namespace[] = [];
  readonly #devices: string[] = [];

  space(name: string): Namespace {
    const space = new Namespace(name);
    this.#spaces.push(space);
    return space;
  }

  /** A cable; an end without a namespace is in the machine's own. */
  link(one: LinkEnd, other: LinkEnd): void {
    const [a, b] = [`wbt${process.pid % 100_000}a`, `wbt${process.pid % 100_000}b`];
    ip('link', 'add', a, 'type', 'veth', 'peer', 'name', b);
    this.#plug(a, one);
    this.#plug(b, other);
  }

  #plug(device: string, { space, device: name, mac, addresses }: LinkEnd): void {
    ip('link', 'set', device, 'address', mac, ...(space ? ['netns', space.name] : []), 'name', name);
    const at = (...args: readonly string[]): string => (space ? space.ip(...args) : ip(...args));
    if (!space) this.#devices.push(name);
    for (const address of addresses)
      at('addr', 'add', address, 'dev', name, ...(address.includes(':') ? ['nodad'] : []));
    at('link', 'set', name, 'up');
  }

  /** A program that runs nft in a namespace, for `createNftFilter`. */
  nftIn(space: Namespace): string {
    const path = join(this.folder, `nft-${space.name}`);
    writeFileSync(path, `#!/bin/sh\nexec ${IP} netns exec ${space.name} ${NFT} "$@"\n`, { mode: 0o700 });
    return path;
  }

  remove(): void {
    const failures = this.#spaces.flatMap((space) => failureOf(() => space.remove()));
    // One goes with the namespace of its other end.
    for (const device of this.#devices) failureOf(() => ip('link', 'del', device));
    rmSync(this.folder, { recursive: true, force: true });
    if (failures.length > 0) throw new AggregateError(failures, 'Not every network namespace could be deleted');
  }
}
