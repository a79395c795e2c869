import { isIP } from 'node:net';

import type { Clock } from '../../lib/clock.js';
import type { Log } from '../../lib/log.js';
import { plainAddress, withoutZone } from '../../lib/plain-address.js';
import { withDeadline } from '../deadline.js';
import type { FirewallMemory, StateStore } from '../state-store.js';
import type { Routes } from '../transport/manager-transport.js';
import { contactOf, newestFirst, targetsOf, withoutRepeats, type ContactTarget } from './contact-rules.js';
import type { Contact } from './firewall-plan.js';
import type { HostNetwork } from './host-network.js';

export interface FirewallContactsDeps {
  readonly clock: Clock;
  readonly log: Log;
  readonly state: Pick<StateStore, 'firewall' | 'noteFirewall'>;
  readonly network: HostNetwork;
  readonly enrolledUrls: readonly string[];
  readonly routes: () => Routes;
}

const LOOKUP_MS = 5000;
/** A connection that is tried out is over by then. */
const TRIAL_MS = 60_000;
const MOST_DIALLERS = 4;

/** Whom the firewall lets the agent talk with whatever the rules, and where their names lead. */
export class FirewallContacts {
  readonly #deps: FirewallContactsDeps;
  #trials: readonly (ContactTarget & { readonly until: number })[] = [];

  constructor(deps: FirewallContactsDeps) {
    this.#deps = deps;
  }

  get #memory(): FirewallMemory {
    return this.#deps.state.firewall;
  }

  /** Where managers dialled from, the newest first. */
  get dialledFrom(): readonly string[] {
    return this.#memory.dialledFrom;
  }

  /** As far as names are known. */
  get contact(): Contact {
    const { network } = this.#deps;
    return contactOf({
      targets: this.#targets(),
      addresses: this.#memory.addresses,
      resolvers: network.resolvers(),
      gateways: network.gateways(),
    });
  }

  /** Where it leads now, and whether that is not yet part of `contact` as it was. Throws where the name leads nowhere. */
  async admit(host: string, port: number): Promise<{ readonly addresses: readonly string[]; readonly isNew: boolean }> {
    const isNew = this.#noteTrial({ host, port });
    const addresses = isIP(host) === 0 ? await this.#deps.network.lookup(host) : [host];
    const isMoved = isIP(host) === 0 && (await this.#remember(host, addresses));
    return { addresses, isNew: isNew || isMoved };
  }

  #noteTrial(target: ContactTarget): boolean {
    const now = this.#deps.clock.monotonic();
    const isKnown = this.#targets().some(({ host, port }) => host === target.host && port === target.port);
    const others = this.#trials.filter(({ host, port }) => host !== target.host || port !== target.port);
    this.#trials = [...others.filter(({ until }) => until > now), { ...target, until: now + TRIAL_MS }];
    return !isKnown;
  }

  #targets(): ContactTarget[] {
    const { routes, enrolledUrls, clock } = this.#deps;
    const now = clock.monotonic();
    const trials = this.#trials.filter(({ until }) => until > now).map(({ host, port }) => ({ host, port }));
    return withoutRepeats([...targetsOf(routes(), enrolledUrls), ...trials]);
  }

  /** Asks where every name leads now. */
  async resolve(): Promise<void> {
    await this.#resolveAll(this.#targets());
  }

  /** Names that never led anywhere are asked for while that is still possible. */
  async learnNames(): Promise<void> {
    await this.#resolveAll(this.#targets().filter(({ host }) => this.#memory.addresses[host] === undefined));
  }

  /** All at once: those that nobody answers for hold up the others, and an isolation, for one deadline and no longer. */
  async #resolveAll(targets: readonly ContactTarget[]): Promise<void> {
    const names = new Set(targets.map(({ host }) => host).filter((host) => isIP(host) === 0));
    await Promise.all([...names].map((name) => this.#resolve(name).catch(() => undefined)));
  }

  async #resolve(host: string): Promise<void> {
    const { clock, network } = this.#deps;
    await this.#remember(host, await withDeadline({ clock, milliseconds: LOOKUP_MS }, () => network.lookup(host)));
  }

  /** For the next boot, before names can be asked for; whether anything is new. */
  async #remember(host: string, addresses: readonly string[]): Promise<boolean> {
    const known = this.#memory.addresses[host];
    const all = newestFirst(addresses, known);
    if (all === known) return false;
    const hosts = new Set([host, ...this.#targets().map((target) => target.host)]);
    const kept = Object.entries(this.#memory.addresses).filter(([name]) => hosts.has(name));
    await this.#note({ addresses: { ...Object.fromEntries(kept), [host]: all } });
    return true;
  }

  /** A manager was recognised over the listener; whether it came from elsewhere than the last one. */
  async noteDialler(given: string | undefined): Promise<boolean> {
    const address = withoutZone(plainAddress(given ?? ''));
    const known = this.#memory.dialledFrom;
    if (isIP(address) === 0 || known[0] === address) return false;
    await this.#note({ dialledFrom: [address, ...known.filter((one) => one !== address)].slice(0, MOST_DIALLERS) });
    return true;
  }

  /** A disk that fails costs what a restart would know. */
  async #note(changes: Partial<FirewallMemory>): Promise<void> {
    const { state, log } = this.#deps;
    try {
      await state.noteFirewall(changes);
    } catch (error) {
      log.warn({ err: error }, 'What the firewall is to know after a restart cannot be stored');
    }
  }
}
