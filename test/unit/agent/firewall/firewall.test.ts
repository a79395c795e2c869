import { expect } from 'chai';

import { Firewall, type FirewallWish } from '../../../../agent/firewall/firewall.js';
import { FirewallRefused, FirewallUnsupported, type PacketFilter } from '../../../../agent/firewall/nft-program.js';
import type { KeptTables } from '../../../../agent/firewall/tables-file.js';
import type { NftScript } from '../../../../agent/firewall/nft-text.js';
import type { FirewallMemory, Isolation } from '../../../../agent/state-store.js';
import type { IncomingEvent } from '../../../../agent/spool/event-intake.js';
import { createLog } from '../../../../lib/log.js';
import type { FirewallRule } from '../../../../policies/firewall-rules.js';
import { releaseDigestOf } from '../../../../protocol/release-code.js';
import { FakeClock } from '../../../support/fake-clock.js';

const DENY: FirewallRule = { action: 'deny', direction: 'incoming' };
const CODE = 'ABCDE-FGHJK-MNPQR-STVWX';
const ROUTE = { managerUrls: ['https://manager.example:4120'], proxies: [], fallbackDirect: true };
const COMMAND = { commandId: 'c1', allow: [], releaseDigest: releaseDigestOf(CODE) };

const NOTHING: FirewallMemory = { addresses: {}, dialledFrom: [] };

/** What a machine would keep: its packet filter and the agent's disk. */
class Machine {
  loaded: NftScript | undefined;
  loads = 0;
  failure: Error | undefined;
  isRead = true;
  isolation: Isolation | undefined;
  firewall: FirewallMemory = NOTHING;
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

interface Failure {
  readonly reason?: string;
  readonly code?: string;
  readonly message: string;
}

async function failureOf(promise: Promise<unknown>): Promise<Failure> {
  try {
    await promise;
  } catch (error) {
    return error as Failure;
  }
  return expect.fail('it did not fail');
}

describe('the firewall of the agent', () => {
  let machine: Machine;
  beforeEach(() => (machine = new Machine()));

  it('touches nothing while nothing is wanted, and no table that it did not make', async () => {
    const firewall = machine.start({ check: fail, load: fail, unload: fail, stands: fail });
    await firewall.apply();
    expect(firewall.report()).to.include({ state: 'applied' });
    expect([firewall.part, machine.kinds, machine.kept]).to.deep.equal([undefined, [], undefined]);
    expect(await firewall.admit('manager.example', 4120)).to.equal(undefined);
  });

  it('leaves whatever stands while nobody can read whether the computer is isolated', async () => {
    const before = machine.start();
    await before.isolate(COMMAND);
    const { loads } = machine;
    const kept = [machine.isolation, machine.firewall] as const;
    [machine.isRead, machine.isolation, machine.firewall] = [false, undefined, { ...NOTHING }];
    const firewall = machine.start();
    await firewall.apply();
    expect(machine.loaded).not.to.equal(undefined);
    expect(firewall.part).to.include({ name: 'firewall', state: 'offline' });
    expect(machine.kinds.at(-1)).to.equal('firewall-failed');
    [machine.isRead, machine.isolation, machine.firewall] = [true, ...kept];
    await firewall.apply();
    expect(machine.loads).to.equal(loads + 1);
    expect(firewall.status).to.deep.include({ state: 'applied', isolated: { since: kept[0]?.since, commandId: 'c1' } });
  });

  it('cuts off again a computer that is known to be isolated, though nothing else can be read', async () => {
    await machine.start().isolate(COMMAND);
    const { text } = machine.loaded!;
    [machine.isRead, machine.loaded, machine.firewall] = [false, undefined, NOTHING];
    const firewall = machine.start();
    await firewall.apply();
    expect(machine.loaded).to.have.property('text', text);
    expect(firewall.report()).to.include({ state: 'applied', isolatedBy: 'c1' });
  });

  it('waits for names that nobody answers for one deadline, however many they are', async () => {
    const proxies = [{ url: 'http://one.example:3128' }, { url: 'http://two.example:3128' }];
    machine.wish = { ...machine.wish, routes: { inForce: { ...ROUTE, proxies } } };
    machine.isDeaf = true;
    const isolating = machine.start().isolate(COMMAND);
    await machine.clock.advance(5000);
    await isolating;
    expect(machine.loaded).not.to.equal(undefined);
  });

  it('takes no tables for lost that are being made anew', async () => {
    machine.want(DENY);
    const firewall = machine.start();
    await firewall.apply();
    let goOn = (): void => undefined;
    const { load } = machine.filter;
    machine.filter.load = async (script) => {
      await load(script);
      await new Promise<void>((resolve) => (goOn = resolve));
    };
    machine.want(DENY, { ...DENY, direction: 'outgoing' });
    const applying = firewall.apply();
    await machine.clock.advance(1);
    expect(machine.loads, 'being loaded').to.equal(2);
    const end = new AbortController();
    const watching = firewall.watch(end.signal);
    end.abort();
    await machine.clock.advance(1);
    goOn();
    await applying;
    await watching;
    expect([machine.loads, machine.kinds]).to.deep.equal([2, ['firewall-applied']]);
  });

  it('loads again what another program took away, and says so', async () => {
    machine.want(DENY);
    const firewall = machine.start();
    await firewall.apply();
    machine.loaded = undefined;
    const end = new AbortController();
    const watching = firewall.watch(end.signal);
    end.abort();
    await watching;
    expect(machine.loaded).not.to.equal(undefined);
    expect(machine.kinds).to.deep.equal(['firewall-restored']);
  });

  it('goes on after a wish that cannot be told', async () => {
    machine.want(DENY);
    const firewall = machine.start();
    const { wish } = machine;
    machine.wish = undefined as never;
    await firewall.apply();
    machine.wish = wish;
    await firewall.apply();
    expect(firewall.report().state).to.equal('applied');
    expect(machine.loads).to.equal(1);
  });

  it('loads a set once, with what its manager is called now, and takes it away again', async () => {
    machine.want(DENY);
    const firewall = machine.start();
    await firewall.apply();
    await firewall.apply();
    expect(machine.loads).to.equal(1);
    expect(machine.loaded?.text).to.contain('ip daddr { 10.0.0.1 } meta l4proto { 6 } th dport { 4120 } accept');
    expect(machine.loaded?.text).to.contain('ip daddr { 10.0.0.53 } meta l4proto { 6, 17 } th dport { 53 } accept');
    const text = machine.loaded?.text;
    expect(machine.kept).to.deep.equal({ loaded: { isIsolation: false, text }, rules: [DENY], listeners: [] });
    expect(machine.firewall).to.deep.include({ addresses: { 'manager.example': ['10.0.0.1'] } });
    expect(firewall.part).to.include({ name: 'firewall', state: 'online' });
    machine.want();
    await firewall.apply();
    expect([machine.loaded, machine.kept, firewall.part]).to.deep.equal([undefined, undefined, undefined]);
  });

  it('takes away after a restart what a former life loaded', async () => {
    machine.want(DENY);
    await machine.start().apply();
    machine.want();
    await machine.start().apply();
    expect(machine.loaded).to.equal(undefined);
  });

  it('lets a connection pass to where its name leads now before it is opened, and remembers the former address', async () => {
    machine.want(DENY);
    const firewall = machine.start();
    await firewall.apply();
    machine.names = { 'manager.example': ['10.0.0.2', 'fd00::2'] };
    expect(await firewall.admit('manager.example', 4120)).to.deep.equal(['10.0.0.2', 'fd00::2']);
    expect(machine.loads).to.equal(2);
    for (const address of ['ip daddr { 10.0.0.1 }', 'ip daddr { 10.0.0.2 }', 'ip6 daddr { fd00:0:0:0:0:0:0:2 }'])
      expect(machine.loaded?.text).to.contain(address);
    await firewall.admit('manager.example', 4120);
    expect(machine.loads).to.equal(2);
    machine.names = {};
    expect((await failureOf(firewall.admit('manager.example', 4120))).message).to.equal('ENOTFOUND');
  });

  it('lets a proxy that is tried out pass, for a while', async () => {
    machine.want(DENY);
    const firewall = machine.start();
    await firewall.apply();
    expect(await firewall.admit('10.0.0.9', 3128)).to.deep.equal(['10.0.0.9']);
    expect(machine.loaded?.text).to.contain('ip daddr { 10.0.0.9 } meta l4proto { 6 } th dport { 3128 } accept');
    await machine.clock.advance(60_001);
    await firewall.apply();
    expect(machine.loaded?.text).to.not.contain('10.0.0.9');
  });

  it('knows at a boot what names led to before, where they cannot be asked for', async () => {
    machine.want(DENY);
    await machine.start().apply();
    machine.names = {};
    machine.loaded = undefined;
    await machine.start().apply();
    expect(machine.loaded).to.have.property('text').that.contains('ip daddr { 10.0.0.1 }');
  });

  it('keeps the former set where one is refused, and tells it once', async () => {
    machine.want(DENY);
    const firewall = machine.start();
    await firewall.apply();
    const former = machine.loaded;
    const digest = firewall.report().digest;
    machine.want(DENY, { ...DENY, direction: 'outgoing' });
    machine.failure = new FirewallRefused('no');
    await firewall.apply();
    await firewall.apply();
    expect(machine.loaded).to.equal(former);
    expect(firewall.report()).to.deep.equal({ state: 'failed', digest, detail: 'no' });
    expect(firewall.part).to.include({ state: 'offline', detail: 'failed: no' });
    expect(firewall.failure).to.equal('no');
    machine.failure = undefined;
    await firewall.apply();
    expect(firewall.report().state).to.equal('applied');
    expect(machine.kinds).to.deep.equal(['firewall-failed', 'firewall-applied']);
  });

  it('says that the settings before were reverted for its sake', async () => {
    const firewall = machine.start();
    machine.wish = { ...machine.wish, reverted: 'no such thing' };
    await firewall.apply();
    expect(firewall.report()).to.include({ state: 'failed', detail: 'no such thing' });
  });

  for (const [name, hasFilter] of [
    ['without the capability', true],
    ['that was told to keep its hands off', false],
  ] as const)
    it(`goes on ${name}, and isolates nothing`, async () => {
      machine.failure = new FirewallUnsupported('no capability');
      const firewall = hasFilter ? machine.start() : machine.start(null);
      await firewall.apply();
      expect(firewall.part).to.equal(undefined);
      expect([firewall.status.state, firewall.report().state], 'nothing is wanted').to.deep.equal(
        hasFilter ? ['applied', 'applied'] : ['unsupported', 'unsupported'],
      );
      machine.want(DENY);
      await firewall.apply();
      expect(firewall.part).to.include({ state: 'offline' });
      expect(firewall.report().state).to.equal('unsupported');
      expect(firewall.failure).to.equal(undefined);
      expect((await failureOf(firewall.isolate(COMMAND))).reason).to.equal('not-supported');
      expect(machine.isolation).to.equal(undefined);
      expect(machine.kinds).to.deep.equal(['firewall-unsupported']);
    });

  it('isolates, over restarts, and ends it by command under the rules that it had', async () => {
    machine.want(DENY);
    const firewall = machine.start();
    await firewall.apply();
    const former = machine.loaded?.generation;
    await firewall.isolate(COMMAND);
    expect(machine.loaded?.text).to.contain('chain forwarded');
    expect(firewall.report()).to.include({ state: 'applied', isolatedBy: 'c1' });
    const isolated = machine.loaded?.generation;
    machine.loaded = undefined;
    const next = machine.start();
    await next.apply();
    expect(machine.loaded).to.have.property('generation', isolated);
    expect(next.status.isolated).to.deep.equal({ since: machine.isolation?.since, commandId: 'c1' });
    expect(await next.release('command', 'c2')).to.equal(true);
    expect(machine.loaded).to.have.property('generation', former);
    expect(await next.release('command', 'c3')).to.equal(false);
    expect(machine.kinds).to.deep.equal(['isolated', 'isolation-ended']);
  });

  it('leaves all as it was where it cannot be isolated, or released', async () => {
    const firewall = machine.start();
    machine.failure = new FirewallRefused('no');
    expect((await failureOf(firewall.isolate(COMMAND))).reason).to.equal('firewall-failed');
    expect([machine.isolation, machine.loaded]).to.deep.equal([undefined, undefined]);
    machine.failure = undefined;
    await firewall.isolate(COMMAND);
    machine.failure = new FirewallRefused('no');
    expect((await failureOf(firewall.releaseByCode(CODE))).code).to.equal('unavailable');
    expect(firewall.report()).to.include({ isolatedBy: 'c1' });
    machine.failure = undefined;
    await firewall.releaseByCode(CODE);
    expect(machine.loaded).to.equal(undefined);
  });

  describe('whose rules are refused when an isolation ends', () => {
    const OUT: FirewallRule = { ...DENY, direction: 'outgoing', protocol: 'UDP' };
    const REFUSED = 'th dport { 6666 }';
    const BAD: FirewallRule = { ...DENY, protocol: 'TCP', destination: { ports: [6666] } };
    const isolatedUnder = async (...rules: readonly FirewallRule[]): Promise<Firewall> => {
      machine.want(...rules);
      const firewall = machine.start();
      await firewall.apply();
      await firewall.isolate(COMMAND);
      machine.want(BAD);
      await firewall.apply();
      expect(firewall.failure, 'nobody looks at rules that are not in force').to.equal(undefined);
      machine.refused = REFUSED;
      return firewall;
    };
    const expectFailed = (firewall: Firewall): void => {
      expect(machine.isolation).to.equal(undefined);
      expect(firewall.report()).to.include({ state: 'failed', detail: `no ${REFUSED}` });
      expect(firewall.status.isolated).to.equal(null);
      expect(machine.kinds).to.include.members(['firewall-failed', 'isolation-ended']);
    };

    it('has the last in force that were taken, and tells of those that were not', async () => {
      const firewall = await isolatedUnder(OUT);
      expect(await firewall.release('command', 'c2')).to.equal(true);
      expectFailed(firewall);
      expect(machine.loaded?.text).to.contain('meta l4proto { 17 } drop').and.not.contain('chain forwarded');
      machine.names = { 'manager.example': ['10.0.0.77'] };
      await firewall.admit('manager.example', 4120);
      expect(machine.loaded?.text, 'the way to the manager goes with it').to.contain('10.0.0.77');
      machine.refused = undefined;
      await firewall.apply();
      expect(machine.loaded?.text).to.contain(REFUSED);
      expect(firewall.report().state).to.equal('applied');
    });

    it('has no rule in force where none was before, and is ended by its code', async () => {
      const firewall = await isolatedUnder();
      await firewall.releaseByCode(CODE);
      expectFailed(firewall);
      expect([machine.loaded, machine.kept]).to.deep.equal([undefined, undefined]);
    });

    it('has the listener’s own rule alone where the former rules are refused as well, or none at all', async () => {
      machine.wish = { ...machine.wish, listeners: [{ port: 4118, sources: ['10.9.9.0/24'] }] };
      const firewall = await isolatedUnder(OUT);
      const { check } = machine.filter;
      const isRefused = (text: string) => /forwarded|l4proto \{ 17 \} drop/.test(text);
      machine.filter.check = async (script) =>
        isRefused(script.text) ? Promise.reject(new FirewallRefused('no')) : check(script);
      await firewall.release('command');
      expectFailed(firewall);
      expect(machine.loaded?.text).to.contain('10.9.9.0').and.not.contain('forwarded');
      await isolatedAgain(firewall, check);
      machine.filter.check = () => Promise.reject(new FirewallRefused('nothing'));
      await firewall.release('command');
      expect([machine.isolation, machine.loaded]).to.deep.equal([undefined, undefined]);
    });
    const isolatedAgain = async (firewall: Firewall, check: PacketFilter['check']): Promise<void> => {
      [machine.refused, machine.filter.check] = [undefined, check];
      await firewall.isolate(COMMAND);
      expect(machine.loaded?.text).to.contain('forwarded');
    };

    it('is opened by the next start where the agent ended in between', async () => {
      await isolatedUnder(OUT);
      machine.isolation = undefined;
      const next = machine.start();
      await next.apply();
      expect(next.report()).to.include({ state: 'failed', detail: `no ${REFUSED}` });
      expect(machine.loaded?.text).to.contain('meta l4proto { 17 } drop').and.not.contain('forwarded');
    });
  });

  it('keeps the last rules in force after its settings were lost, until it is told others', async () => {
    machine.want(DENY);
    await machine.start().apply();
    const { generation } = machine.loaded!;
    machine.wish = { ...machine.wish, rules: undefined };
    const firewall = machine.start();
    await firewall.apply();
    expect(firewall.report()).to.include({ state: 'failed' });
    expect(machine.loaded).to.have.property('generation', generation);
    await firewall.isolate(COMMAND);
    await firewall.release('command');
    expect(machine.loaded).to.have.property('generation', generation);
    machine.want();
    await firewall.apply();
    expect([machine.loaded, firewall.report().state]).to.deep.equal([undefined, 'applied']);
  });

  for (const [name, isRead] of [
    ['after its settings were lost', true],
    ['while they cannot be read', false],
  ] as const)
    it(`keeps its port as narrow as it was through an isolation ${name}`, async () => {
      machine.wish = { ...machine.wish, listeners: [{ port: 4118, sources: ['10.9.9.0/24'] }] };
      await machine.start().apply();
      const { generation } = machine.loaded!;
      // The defaults.
      machine.wish = { ...machine.wish, rules: undefined, listeners: [{ port: 4118, sources: [] }] };
      machine.isRead = isRead;
      const firewall = machine.start();
      await firewall.apply();
      expect(machine.loaded).to.have.property('generation', generation);
      await firewall.isolate(COMMAND);
      expect(machine.loaded?.text).to.contain('forwarded');
      await firewall.release('command');
      expect(machine.loaded).to.have.property('generation', generation);
      [machine.isRead, machine.wish] = [true, { ...machine.wish, rules: [] }];
      await firewall.apply();
      expect(machine.loaded, 'the settings open it').to.equal(undefined);
    });

  it('takes away what another identity left, and what is not known', async () => {
    machine.want(DENY);
    await machine.start().apply();
    machine.kept = {};
    machine.wish = { ...machine.wish, rules: undefined };
    const firewall = machine.start();
    await firewall.apply();
    expect([machine.loaded, machine.kept, firewall.report().state]).to.deep.equal([undefined, undefined, 'applied']);
  });

  it('takes the right code once, however it is typed, and few wrong ones', async () => {
    const firewall = machine.start();
    await firewall.isolate(COMMAND);
    expect((await failureOf(firewall.releaseByCode('0'))).code).to.equal('release-code-refused');
    await firewall.releaseByCode(' abcde fghjk-MNPQR STVWX');
    expect((await failureOf(firewall.releaseByCode(CODE))).code).to.equal('not-isolated');
    await firewall.isolate({ commandId: 'c2', allow: [] });
    for (const code of ['1', '2', CODE])
      expect((await failureOf(firewall.releaseByCode(code))).code).to.equal('release-code-refused');
    expect((await failureOf(firewall.releaseByCode(CODE))).code).to.equal('too-many-requests');
    expect(machine.kinds.filter((kind) => kind === 'release-code-refused')).to.have.length(4);
    await machine.clock.advance(12_000);
    expect((await failureOf(firewall.releaseByCode(CODE))).code).to.equal('release-code-refused');
  });

  it('ends no isolation that is being begun by the code of the one before', async () => {
    const firewall = machine.start();
    await firewall.isolate(COMMAND);
    const { load } = machine.filter;
    let goOn = (): void => undefined;
    const held = new Promise<void>((resolve) => (goOn = resolve));
    machine.filter.load = async (script) => {
      await held;
      await load(script);
    };
    const other = releaseDigestOf('00000-00000-00000-00001');
    const begun = firewall.isolate({ commandId: 'c2', allow: [{ ip: '10.0.0.7' }], releaseDigest: other });
    const ended = failureOf(firewall.releaseByCode(CODE));
    goOn();
    await begun;
    expect((await ended).code).to.equal('release-code-refused');
    expect(machine.isolation).to.include({ commandId: 'c2' });
    expect(machine.loaded?.text).to.contain('10.0.0.7');
  });

  it('ends by command an isolation that stands though neither disk nor agent knows of it', async () => {
    await machine.start().isolate(COMMAND);
    // Neither was stored, and the disk cannot be read by the next.
    [machine.isolation, machine.isRead, machine.kept] = [undefined, false, undefined];
    const firewall = machine.start();
    await firewall.apply();
    expect(machine.loaded?.text).to.contain('chain forwarded');
    expect(await firewall.release('command')).to.equal(true);
    expect(machine.loaded?.text ?? '').not.to.contain('chain forwarded');
    expect(await firewall.release('command')).to.equal(false);
  });

  it('lets its manager dial an isolated computer from where it was recognised', async () => {
    machine.wish = { ...machine.wish, listeners: [{ port: 4118, sources: [] }] };
    const firewall = machine.start();
    await firewall.dialledFrom('::ffff:10.9.9.9');
    await firewall.isolate(COMMAND);
    expect(machine.loaded?.text).to.contain('ip saddr { 10.9.9.9 } meta l4proto { 6 } th dport { 4118 } accept');
    await firewall.dialledFrom('10.9.9.10');
    expect(machine.loaded?.text).to.contain('10.9.9.10');
    expect(machine.firewall.dialledFrom).to.deep.equal(['10.9.9.10', '10.9.9.9']);
    await firewall.dialledFrom('fe80::1%eth0');
    expect(machine.loaded?.text).to.contain(
      'ip6 saddr { fe80:0:0:0:0:0:0:1 } meta l4proto { 6 } th dport { 4118 } accept',
    );
    // As an older agent noted it: it is nobody, not everybody.
    machine.firewall = { ...machine.firewall, dialledFrom: ['fe80::2%eth0'] };
    await firewall.apply();
    const open = machine.loaded?.text.split('\n').filter((line) => line.includes('dport { 4118 }')) ?? [];
    expect(open).to.have.length(1);
    expect(open[0]).to.contain('saddr { 10.0.0.1 }');
  });
});

async function fail(): Promise<never> {
  throw new Error('nothing was to be asked of it');
}
