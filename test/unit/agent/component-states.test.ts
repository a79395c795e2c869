import { expect } from 'chai';
import fc from 'fast-check';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { componentStates, unitsOf } from '../../../agent/collectors/component-states.js';
import { createModuleCollector } from '../../../agent/collectors/module-collector.js';
import { parseBuiltInModules, parseLoadedModules, toModuleName } from '../../../agent/collectors/module-rules.js';
import { parseUnitBlocks, toUnitName } from '../../../agent/collectors/unit-rules.js';
import { UnitWatch } from '../../../agent/collectors/unit-watch.js';
import type { WatchedComponent } from '../../../policies/setting-values.js';
import { FakeClock } from '../../support/fake-clock.js';

const unit = (match: string, name = match): WatchedComponent => ({ name, kind: 'systemdUnit', match });
const kernelModule = (match: string): WatchedComponent => ({ name: match, kind: 'kernelModule', match });
const NOTHING = { running: undefined, units: new Map(), modules: undefined };

describe('the name of a unit', () => {
  const rows: readonly [match: string, name: string | undefined][] = [
    ['nginx', 'nginx.service'],
    ['nginx.service', 'nginx.service'],
    ['backup.timer', 'backup.timer'],
    ['getty@tty1', 'getty@tty1.service'],
    ['my.app', 'my.app.service'],
    ['dev-disk-by\\x2dlabel.device', 'dev-disk-by\\x2dlabel.device'],
    ['--version', undefined],
    ['-H root@elsewhere', undefined],
    ['/etc/passwd', undefined],
    ['../nginx', undefined],
    ['ssh*', undefined],
    ['a b', undefined],
    ['a;reboot', undefined],
    ['$(reboot)', undefined],
    ['a\nb', undefined],
    ['a\0b', undefined],
    ['ünit', undefined],
    ['x'.repeat(256), undefined],
  ];
  for (const [match, name] of rows)
    it(`of ${JSON.stringify(match.slice(0, 30))} is ${name}`, () => expect(toUnitName(match)).to.equal(name));

  it('never begins as an option and never holds a path, a pattern or a blank', () => {
    fc.assert(
      fc.property(fc.oneof(fc.string({ unit: 'binary' }), fc.string()), (match) => {
        const name = toUnitName(match);
        return name === undefined || (!name.startsWith('-') && !/[\s/*?[\]\0;$`'"|&<>]/.test(name));
      }),
      { numRuns: 2000 },
    );
  });

  it('is asked for once however often it is watched', () => {
    const watched = [unit('nginx', 'a'), unit('nginx.service', 'b'), unit('--all'), kernelModule('ext4'), unit('cron')];
    expect(unitsOf(watched)).to.deep.equal(['nginx.service', 'cron.service']);
  });
});

describe('the output of systemctl show', () => {
  const block = (id: string, load: string, state: string) => {
    const [active, sub] = state.split(' ');
    return `Id=${id}\nLoadState=${load}\nActiveState=${active}\nSubState=${sub}\n`;
  };
  const rows: readonly [load: string, state: string, expected: string, detail: string][] = [
    ['loaded', 'active running', 'online', 'active (running)'],
    ['loaded', 'active exited', 'online', 'active (exited)'],
    ['loaded', 'reloading reload', 'online', 'reloading (reload)'],
    ['loaded', 'inactive dead', 'offline', 'inactive (dead)'],
    ['loaded', 'failed failed', 'offline', 'failed (failed)'],
    ['loaded', 'activating auto-restart', 'offline', 'activating (auto-restart)'],
    ['loaded', 'deactivating stop-sigterm', 'offline', 'deactivating (stop-sigterm)'],
    ['masked', 'inactive dead', 'offline', 'masked, inactive (dead)'],
    ['not-found', 'inactive dead', 'offline', 'no such unit'],
  ];
  for (const [load, state, expected, detail] of rows)
    it(`reads ${load}, ${state} as ${expected}`, () => {
      const states = parseUnitBlocks(block('a.service', load, state), ['a.service']);
      expect(states.get('a.service')).to.deep.equal({ state: expected, detail });
    });

  it('is read by position, so that an alias finds its unit, and by id where a block is missing', () => {
    const [ssh, cron] = [block('ssh.service', 'loaded', 'active running'), block('cron.service', 'loaded', 'failed x')];
    const both = parseUnitBlocks(`${ssh}\n${cron}`, ['sshd.service', 'cron.service']);
    expect([...both].map(([name, { state }]) => `${name} ${state}`)).to.deep.equal([
      'sshd.service online',
      'cron.service offline',
    ]);
    const one = parseUnitBlocks(cron, ['sshd.service', 'cron.service']);
    expect([...one.keys()]).to.deep.equal(['cron.service']);
    expect(parseUnitBlocks('nonsense\n\n=\n', ['a.service']).size).to.equal(0);
  });
});

describe('watching units', () => {
  const clock = new FakeClock();
  const online = (units: readonly string[]) =>
    new Map(units.map((name) => [name, { state: 'online', detail: '' }] as const));

  it('asks once for all units and answers again while the reading is young', async () => {
    const calls: (readonly string[])[] = [];
    const read = (units: readonly string[]) => Promise.resolve(void calls.push(units)).then(() => online(units));
    const watch = new UnitWatch({ clock, read, reuseMs: 1000 });
    const look = await watch.look(['a.service', 'b.service']);
    await watch.look(['b.service']);
    expect([...look.states.values()].map(({ state }) => state)).to.deep.equal(['online', 'online']);
    expect(calls).to.deep.equal([['a.service', 'b.service']]);
    await clock.advance(2000);
    await watch.look(['b.service']);
    expect(calls).to.have.length(2);
  });

  it('asks nobody when no unit is watched', async () => {
    const watch = new UnitWatch({ clock, read: () => Promise.reject(new Error('asked')) });
    expect(await watch.look([])).to.deep.equal({ states: new Map(), error: undefined });
  });

  it('waits once for a call that hangs, then not at all, and begins no second one', async () => {
    let calls = 0;
    let hangs = false;
    const read = (units: readonly string[], signal: AbortSignal) => {
      calls += 1;
      if (!hangs) return Promise.resolve(online(units));
      return new Promise<never>((_resolve, reject) =>
        signal.addEventListener('abort', () => reject(signal.reason as Error)),
      );
    };
    const watch = new UnitWatch({ clock, read, waitMs: 250, limitMs: 3000, keepMs: 10_000 });
    const stateOf = async () => (await watch.look(['a.service'])).states.get('a.service')?.state;
    expect(await stateOf()).to.equal('online');
    hangs = true;
    const first = stateOf();
    await clock.advance(250);
    expect(await first).to.equal('online');
    expect(await stateOf()).to.equal('online');
    expect(calls).to.equal(2);
    await clock.advance(3000);
    await clock.advance(10_000);
    const later = await watch.look(['a.service']);
    expect(later.error).to.match(/no end within/);
    expect(later.states.get('a.service')?.state).to.equal('unknown');
    expect(calls).to.equal(3);
  });
});

describe('kernel modules', () => {
  it('have names without paths and patterns, in which "-" and "_" are the same', () => {
    expect(toModuleName('snd-hda_intel')).to.equal('snd_hda_intel');
    for (const bad of ['../../etc', '/sys', 'a.ko', 'a*', '', 'a b', 'x'.repeat(64)])
      expect(toModuleName(bad), bad).to.equal(undefined);
  });

  it('are parsed from the kernel lists', () => {
    const list = 'ext4 1 2 - Live 0x0 (E)\nold-one 1 0 - Unloading 0x0\n';
    expect([...parseLoadedModules(list)]).to.deep.equal([
      ['ext4', 'Live'],
      ['old_one', 'Unloading'],
    ]);
    expect(parseBuiltInModules('kernel/fs/ext4/ext4.ko\nkernel/lib/crc-t10dif.ko\n')).to.deep.equal([
      'ext4',
      'crc_t10dif',
    ]);
  });

  it('are online when live or built in, offline when absent, unknown where that cannot be told', async () => {
    const root = mkdtempSync(join(tmpdir(), 'wardbeat-modules-'));
    try {
      const paths = { modules: join(root, 'modules'), folder: join(root, 'module'), builtIn: join(root, 'builtin') };
      writeFileSync(paths.modules, 'guard 1 1 - Live 0x0\nleaving 1 0 - Unloading 0x0\n');
      for (const name of ['guard', 'leaving', 'printk']) mkdirSync(join(paths.folder, name), { recursive: true });
      writeFileSync(paths.builtIn, 'kernel/fs/ext4/ext4.ko\n');
      const collect = () => createModuleCollector(paths).collect(new AbortController().signal);
      const modules = await collect();
      const watched = ['guard', 'leaving', 'printk', 'ext4', 'absent', '../guard'].map(kernelModule);
      const states = componentStates(watched, { ...NOTHING, modules }).map(({ state }) => state);
      expect(states).to.deep.equal(['online', 'offline', 'online', 'online', 'offline', 'unknown']);
      const partial = { ...modules, incomplete: 'modules.builtin cannot be read' };
      expect(componentStates([kernelModule('absent')], { ...NOTHING, modules: partial })[0]?.state).to.equal('unknown');
      const nowhere = { modules: join(root, 'x'), folder: join(root, 'y'), builtIn: join(root, 'z') };
      const failure = await createModuleCollector(nowhere)
        .collect(new AbortController().signal)
        .catch((error: unknown) => error);
      expect(failure).to.be.instanceOf(Error);
    } finally {
      rmSync(root, { recursive: true });
    }
  });
});

describe('component states', () => {
  it('are unknown with a detail where nobody could look', () => {
    const watched = [{ name: 'p', kind: 'process', match: 'x' } as const, unit('u'), kernelModule('m'), unit('-u')];
    const states = componentStates(watched, NOTHING);
    expect(states.map(({ state }) => state)).to.deep.equal(['unknown', 'unknown', 'unknown', 'unknown']);
    expect(states.every(({ detail }) => detail !== undefined)).to.equal(true);
    expect(componentStates(watched.slice(0, 1), { ...NOTHING, running: [] })[0]?.state).to.equal('offline');
  });
});
