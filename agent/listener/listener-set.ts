import { backoffDelayMs } from '../../lib/backoff.js';
import type { Clock } from '../../lib/clock.js';
import type { Random } from '../../lib/random.js';
import { sleepUnlessAborted } from '../deadline.js';
import type { ListenerWish } from '../direction-rules.js';
import type { ListenerServer } from './listener-server.js';

export interface OpenRequest {
  readonly port: number;
  /** The lists of sources of this moment, of which one must admit a peer. */
  readonly sources: () => readonly (readonly string[])[];
}

export interface ListenerSetDeps {
  readonly clock: Clock;
  readonly random: Random;
  readonly open: (request: OpenRequest) => Promise<ListenerServer>;
  /** A port was bound, or could not be for another reason than before, outside of `want`. */
  readonly onChange: () => void;
}

export type ListenerState =
  | { readonly state: 'listening'; readonly port: number }
  | { readonly state: 'failed'; readonly port: number; readonly detail: string };

interface Slot {
  sources: ListenerWish['sources'];
  state: ListenerState | undefined;
  server: ListenerServer | undefined;
  readonly closing: AbortController;
}

const RETRY = { firstMs: 2000, capMs: 300_000 };

/** The open ports of the agent: those that are wished for, each tried again with back-off where it cannot be bound. */
export class ListenerSet {
  readonly #deps: ListenerSetDeps;
  readonly #slots = new Map<number, Slot>();
  readonly #open = new Set<ListenerServer>();
  #isClosed = false;

  constructor(deps: ListenerSetDeps) {
    this.#deps = deps;
  }

  /** Opens and closes ports; new lists of sources count at once. Resolves when each new port was tried once. */
  async want(wishes: readonly ListenerWish[]): Promise<void> {
    if (this.#isClosed) return;
    const wanted = new Set(wishes.map(({ port }) => port));
    for (const [port, slot] of this.#slots) if (!wanted.has(port)) this.#drop(port, slot);
    await Promise.all(wishes.map((wish) => this.#ensure(wish)));
  }

  /** By the port that was wished for; `port` of the answer is the bound one. */
  stateOf(port: number): ListenerState | undefined {
    return this.#slots.get(port)?.state;
  }

  /** Every port shows the credentials of now from its next connection on. */
  renew(): void {
    for (const server of this.#open) server.renew();
  }

  /** Cuts every connection. */
  async destroy(): Promise<void> {
    this.#isClosed = true;
    for (const [port, slot] of this.#slots) this.#drop(port, slot);
    await Promise.all([...this.#open].map((server) => server.destroy()));
    this.#open.clear();
  }

  #drop(port: number, slot: Slot): void {
    this.#slots.delete(port);
    slot.closing.abort();
    const { server } = slot;
    if (server) void server.close().then(() => this.#open.delete(server));
  }

  async #ensure({ port, sources }: ListenerWish): Promise<void> {
    const known = this.#slots.get(port);
    if (known) {
      known.sources = sources;
      return;
    }
    const slot: Slot = { sources, state: undefined, server: undefined, closing: new AbortController() };
    this.#slots.set(port, slot);
    await this.#try(port, slot);
    if (!slot.server) void this.#retry(port, slot);
  }

  async #try(port: number, slot: Slot): Promise<void> {
    try {
      const server = await this.#deps.open({ port, sources: () => slot.sources });
      if (slot.closing.signal.aborted) return await server.destroy();
      this.#open.add(server);
      slot.server = server;
      slot.state = { state: 'listening', port: server.port };
    } catch (error) {
      slot.state = { state: 'failed', port, detail: describe(error, port) };
    }
  }

  async #retry(port: number, slot: Slot): Promise<void> {
    const { clock, random, onChange } = this.#deps;
    const { signal } = slot.closing;
    for (let attempt = 0; !slot.server && !signal.aborted; attempt += 1) {
      const delayMs = RETRY.firstMs / 2 + backoffDelayMs(attempt, RETRY, random);
      await sleepUnlessAborted(clock, delayMs, signal);
      const before = slot.state;
      if (!signal.aborted) await this.#try(port, slot);
      if (JSON.stringify(before) !== JSON.stringify(slot.state) && !signal.aborted) onChange();
    }
  }
}

const KNOWN: Readonly<Record<string, string>> = {
  EADDRINUSE: 'is taken by another program',
  EACCES: 'may not be opened by this user',
};

function describe(error: unknown, port: number): string {
  const { code = '', message } = error as NodeJS.ErrnoException;
  const known = KNOWN[code];
  return known === undefined ? `port ${port} cannot be opened: ${message}` : `port ${port} ${known} (${code})`;
}
