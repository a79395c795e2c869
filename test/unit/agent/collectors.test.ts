import { expect } from 'chai';

import { createHostCollectors, systemSources } from '../../../agent/collectors/host-collectors.js';
import {
  parseCpuTimes,
  parseDiskstats,
  parseMeminfo,
  parseNetDev,
  parseOsRelease,
  parseProcessStat,
} from '../../../agent/collectors/proc-format.js';
import { matchesProcess } from '../../../agent/collectors/process-collector.js';
import { ComponentWatch } from '../../../agent/component-watch.js';
import { createSystemClock } from '../../../lib/clock.js';
import type { CommunicationDirection } from '../../../policies/setting-values.js';
import type { ComponentReport } from '../../../protocol/heartbeat-messages.js';

const clock = createSystemClock();

describe('reading /proc', () => {
  it('parses processor times', () => {
    expect(parseCpuTimes('cpu  100 5 30 1000 7 1 2 3 0 0\ncpu0 1 2')).to.deep.equal({
      userMs: 1050,
      systemMs: 330,
      idleMs: 10_000,
      ioWaitMs: 70,
      stealMs: 30,
    });
  });

  it('parses memory, network and disks', () => {
    expect(parseMeminfo('MemTotal:  2 kB\nHugePages_Total:  3\n').get('MemTotal')).to.equal(2048);
    const net = 'a\nb\n  lo: 1 1 0 0 0 0 0 0 1 1 0 0 0 0 0 0\neth0:10 2 1 0 0 0 0 0 20 4 3 0 0 0 0 0\n';
    expect(parseNetDev(net)).to.deep.equal([
      {
        name: 'eth0',
        receivedBytes: 10,
        receivedPackets: 2,
        receiveErrors: 1,
        sentBytes: 20,
        sentPackets: 4,
        sendErrors: 3,
      },
    ]);
    const disks = '7 0 loop0 5 0 5 0 0 0 0 0 0 0\n8 0 sda 4 0 8 0 2 0 6 0 0 0 0\n8 1 sdb 0 0 0 0 0 0 0 0 0 0 0\n';
    expect(parseDiskstats(disks)).to.deep.equal([
      { name: 'sda', reads: 4, readBytes: 4096, writes: 2, writtenBytes: 3072 },
    ]);
  });

  it('parses process lines whose name holds parentheses, and os-release', () => {
    expect(parseProcessStat('12 (a) b) Z 1 2')).to.deep.equal({ comm: 'a) b', state: 'Z' });
    expect(parseProcessStat('nonsense')).to.equal(undefined);
    expect(parseOsRelease('ID=debian\nPRETTY_NAME="Debian 12"\n').get('PRETTY_NAME')).to.equal('Debian 12');
  });
});

describe('watched components', () => {
  it('match by command name or a part of the command line', () => {
    const nginx = { comm: 'nginx', commandLine: 'nginx: master process /usr/sbin/nginx' };
    expect(matchesProcess('nginx', nginx)).to.equal(true);
    expect(matchesProcess('/usr/sbin/nginx', nginx)).to.equal(true);
    expect(matchesProcess('apache2', nginx)).to.equal(false);
    const long = { comm: 'a-very-long-pro', commandLine: '' };
    expect(matchesProcess('a-very-long-process-name', long)).to.equal(true);
    expect(matchesProcess('a-very-long-process-name', { ...long, commandLine: '/bin/a-very-long-program' })).to.equal(
      false,
    );
  });

  it('give one event per change, none for unknown and none for a first look that is well', () => {
    const watch = new ComponentWatch();
    const look = (state: ComponentReport['state']) =>
      watch.changes([{ name: 'p', kind: 'process', state }], 'bidirectional').map(({ kind }) => kind);
    expect(look('online')).to.deep.equal([]);
    expect(look('offline')).to.deep.equal(['component-down']);
    expect(look('unknown')).to.deep.equal([]);
    expect(look('offline')).to.deep.equal([]);
    expect(look('online')).to.deep.equal(['component-up']);
    expect(watch.changes([], 'bidirectional')).to.deep.equal([]);
    expect(look('offline')).to.deep.equal(['component-down']);
  });

  it('of a listener that is off-line are a fault where the manager alone dials', () => {
    const watch = new ComponentWatch();
    const look = (state: ComponentReport['state'], direction: CommunicationDirection) =>
      watch.changes([{ name: 'listener', kind: 'agentPart', state }], direction).map(({ kind }) => kind);
    expect(look('offline', 'bidirectional')).to.deep.equal([]);
    expect(look('offline', 'managerInitiated')).to.deep.equal(['component-down']);
    expect(look('offline', 'bidirectional')).to.deep.equal([]);
    expect(look('online', 'bidirectional')).to.deep.equal(['component-up']);
  });
});

describe('looking at this machine', () => {
  it('reads real facts, counters and processes', async () => {
    // What they read is looked at, not how long that takes on a busy machine.
    const collectors = createHostCollectors({ clock, limitMs: 60_000, sources: systemSources('/') });
    const { facts, factsDigest, counters, components, errors } = await collectors.snapshot([
      { name: 'node', kind: 'process', match: 'mocha' },
      { name: 'none', kind: 'process', match: 'no-such-process-anywhere' },
    ]);
    expect(errors).to.deep.equal([]);
    expect(facts).to.include.keys('hostname', 'kernel', 'cpu', 'memoryBytes');
    expect(factsDigest).to.match(/^[0-9a-f]{64}$/);
    const { host } = counters as unknown as { host: { memory: { totalBytes: number }; cpu: { idleMs: number } } };
    expect(host.memory.totalBytes).to.be.greaterThan(1_000_000);
    expect(host.cpu.idleMs).to.be.greaterThan(0);
    expect(components.map(({ state }) => state)[1]).to.equal('offline');
  });

  it('answers in bounded time when a collector hangs or fails, and says which', async () => {
    let starts = 0;
    const collectors = createHostCollectors({
      clock,
      limitMs: 20,
      sources: {
        ...systemSources('/'),
        counters: { name: 'counters', collect: () => new Promise(() => (starts += 1)) },
        facts: { name: 'facts', collect: () => Promise.reject(new Error('broken')) },
      },
    });
    const first = await collectors.snapshot([]);
    const second = await collectors.snapshot([]);
    expect(first.errors.map((error) => error.split(':')[0])).to.deep.equal(['counters', 'facts']);
    expect(second.errors).to.have.length(2);
    expect(starts).to.equal(1);
    expect(second.facts).to.deep.equal({});
  });
});
