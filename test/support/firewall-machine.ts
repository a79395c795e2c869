import { expect } from 'chai';
import { Firewall, type FirewallWish } from '../../agent/firewall/firewall.js';
import { FirewallRefused, type PacketFilter } from '../../agent/firewall/nft-program.js';
import type { NftScript } from '../../agent/firewall/nft-text.js';
import type { KeptTables } from '../../agent/firewall/tables-file.js';
import type { IncomingEvent } from '../../agent/spool/event-intake.js';
import type { FirewallMemory, Isolation } from '../../agent/state-store.js';
import { createLog } from '../../lib/log.js';
import type { FirewallRule } from '../../policies/firewall-rules.js';
import { releaseDigestOf } from '../../protocol/release-code.js';
import { FakeClock } from './fake-clock.js';

export const DENY: FirewallRule = { action: 'deny', direction: 'incoming' };
export const RELEASE_CODE = 'ABCDE-FGHJK-MNPQR-STVWX';
export const ISOLATE = { commandId: 'c1', allow: [], releaseDigest: releaseDigestOf(RELEASE_CODE) };
export const NO_MEMORY: FirewallMemory = { addresses: {}, dialledFrom: [] };
export const ROUTE = { managerUrls: ['https://manager.example:4120'], proxies: [], fallbackDirect: true };

/** What a machine would keep: its packet filter and the agent's disk. */
export class FirewallMachine {
  loaded: NftScript | undefined;
  loads = 0;
  failure: Error | undefined;
  isRead = true;
  isolation: Isolation | undefined;
  firewall: FirewallMemory = NO_MEMORY;
  /** `firewall.json`. */
  kept: KeptTables | undefined;
  /** A word that the packet filter takes in no script. */
  refused: string | undefined;
  readonly events: IncomingEvent[] = [];
  /** Whether nobody answers for names. */
  isDeaf = false;
  names: Record<string, readonly string[]> = { 'manager.example': ['10.0.0.1'] };
  wish: FirewallWish = { rules: [], listeners: [], routes: { inForce: ROUTE }, reverted: undefined };
  readonly clock = new FakeClock();

  readonly isIsolationKept = true;
  setIsolation = async (isolation: Isolation | undefined): Promise<void> => void (this.isolation = isolation);
  keepIsolation = async (): Promise<void> => undefined;
  noteFirewall = async (changes: Partial<FirewallMemory>): Promise<void> =>
    void (this.firewall = { ...this.firewall, ...changes });

  readonly filter: { -readonly [K in keyof PacketFilter]: PacketFilter[K] } = {
    check: async ({ text }) => {
      if (this.failure) throw this.failure;
      if (this.refused !== undefined && text.includes(this.refused)) throw new FirewallRefused(`no ${this.refused}`);
    },
    load: async (script: NftScript) => {
      if (this.failure) throw this.failure;
      this.loads += 1;
      this.loaded = script;
    },
    unload: async () => {
      if (this.failure) throw this.failure;
      this.loaded = undefined;
    },
    stands: async (chain) => this.loaded?.text.includes(`chain ${chain} {`) === true,
  };

  /** Null for an agent that keeps its hands off. */
  start(filter: PacketFilter | null = this.filter): Firewall {
    return new Firewall({
      clock: this.clock,
      log: createLog({ name: 'test', level: 'silent' }),
      state: this,
      tables: { read: () => this.kept, write: (tables) => void (this.kept = tables) },
      spool: { append: async (_lane, event) => void this.events.push(event) as never },
      filter: filter ?? undefined,
      network: {
        lookup: async (host) =>
          this.isDeaf ? new Promise(() => undefined) : (this.names[host] ?? Promise.reject(new Error('ENOTFOUND'))),
        resolvers: () => ['10.0.0.53'],
        gateways: () => [],
      },
      enrolledUrls: ['https://enrolled.example:4120'],
      wish: () => this.wish,
    });
  }

  want(...rules: readonly FirewallRule[]): void {
    this.wish = { ...this.wish, rules };
  }

  get kinds(): readonly string[] {
    return this.events.map(({ kind }) => kind);
  }
}

export interface Failure {
  readonly reason?: string;
  readonly code?: string;
  readonly message: string;
}

/** What it fails by; fails itself where it does not. */
export async function failureOf(promise: Promise<unknown>): Promise<Failure> {
  try {
    await promise;
  } catch (error) {
    return error as Failure;
  }
  return expect.fail('it did not fail');
}
