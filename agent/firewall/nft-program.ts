import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';

import type { Clock } from '../../lib/clock.js';
import { DeadlinePassed, withDeadline } from '../deadline.js';
import { REMOVAL, TABLE, type NftScript } from './nft-text.js';

/** The packet filter cannot be used on this machine, or not by this process. */
export class FirewallUnsupported extends Error {}

/** The packet filter was there and did not take the rules. */
export class FirewallRefused extends Error {}

/** The packet filter of the machine. All throw `FirewallUnsupported` or `FirewallRefused`. */
export interface PacketFilter {
  /** Whether it would be loaded; nothing is changed. */
  check(script: NftScript): Promise<void>;
  /** In one step, or not at all. */
  load(script: Pick<NftScript, 'text'>): Promise<void>;
  /** Takes the agent's tables away. */
  unload(): Promise<void>;
  /** Whether the agent's tables stand with this chain in them, such as a generation. */
  stands(chain: string): Promise<boolean>;
}

/** PATH of a service without privileges often has no sbin. */
const PLACES = ['/usr/sbin/nft', '/sbin/nft', '/usr/bin/nft', '/usr/local/sbin/nft'];
const LIMIT_MS = 10_000;
const MAX_COMPLAINT = 2000;
const NOT_ALLOWED = /operation not permitted|permission denied|must be root/i;
const NOT_BUILT_IN = /netlink socket: protocol not supported|address family not supported/i;

export interface NftOptions {
  readonly clock: Clock;
  /** Where nft may be; the usual places unless given. */
  readonly places?: readonly string[];
}

/** nft(8), run as a child without a shell and with nothing in its environment; what it is to do comes on its standard input. */
export function createNftFilter({ clock, places = PLACES }: NftOptions): PacketFilter {
  const run = async (args: readonly string[], input: string): Promise<Outcome> => {
    const program = places.find((place) => existsSync(place));
    if (program === undefined) throw new FirewallUnsupported('nft is not installed');
    try {
      return await withDeadline({ clock, milliseconds: LIMIT_MS }, (signal) =>
        runChild(program, { args, input, signal }),
      );
    } catch (error) {
      if (error instanceof DeadlinePassed) throw new FirewallRefused(`nft did not end within ${LIMIT_MS / 1000} s`);
      throw new FirewallUnsupported(`nft cannot be run: ${error instanceof Error ? error.message : String(error)}`);
    }
  };
  const apply = async (args: readonly string[], text: string): Promise<void> => {
    const { code, complaint } = await run([...args, '-f', '-'], text);
    if (code !== 0) throw failureOf(complaint);
  };
  return {
    check: ({ text }) => apply(['-c'], text),
    load: ({ text }) => apply([], text),
    unload: () => apply([], REMOVAL),
    async stands(chain) {
      const { code, complaint } = await run(['list', 'chain', 'inet', TABLE, chain], '');
      if (code !== 0 && (NOT_ALLOWED.test(complaint) || NOT_BUILT_IN.test(complaint))) throw failureOf(complaint);
      return code === 0;
    },
  };
}

function failureOf(complaint: string): Error {
  if (NOT_ALLOWED.test(complaint)) return new FirewallUnsupported('this process lacks the capability CAP_NET_ADMIN');
  if (NOT_BUILT_IN.test(complaint)) return new FirewallUnsupported('the kernel has no nf_tables');
  const lines = complaint.split('\n').filter((line) => line.trim() !== '');
  return new FirewallRefused(`nft refused the rules: ${lines.slice(0, 3).join(' ').slice(0, 800)}`);
}

interface Outcome {
  readonly code: number | null;
  readonly complaint: string;
}

interface ChildOptions {
  readonly args: readonly string[];
  readonly input: string;
  readonly signal: AbortSignal;
}

function runChild(program: string, { args, input, signal }: ChildOptions): Promise<Outcome> {
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, { stdio: ['pipe', 'ignore', 'pipe'], env: { LC_ALL: 'C' } });
    let complaint = '';
    const abort = (): void => void child.kill('SIGKILL');
    signal.addEventListener('abort', abort, { once: true });
    child.on('error', reject);
    child.stderr.on('data', (chunk: Buffer) => {
      if (complaint.length < MAX_COMPLAINT) complaint += chunk.toString('utf8');
    });
    child.stdin.on('error', () => undefined);
    child.stdin.end(input);
    child.on('close', (code) => {
      signal.removeEventListener('abort', abort);
      resolve({ code, complaint });
    });
  });
}
