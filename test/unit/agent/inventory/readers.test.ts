import { expect } from 'chai';
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, utimesSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { APK_FIELDS, DPKG_FIELDS, readBlocks, readRpmLines } from '../../../../agent/inventory/package-lists.js';
import { createPackagesCollector } from '../../../../agent/inventory/packages-collector.js';
import { parseSocketLine } from '../../../../agent/inventory/socket-lines.js';
import { createSocketsCollector } from '../../../../agent/inventory/sockets-collector.js';
import { createSystemClock } from '../../../../lib/clock.js';

const clock = createSystemClock();
const { signal } = new AbortController();

const DPKG = `Package: openssl
Status: install ok installed
Priority: optional
Architecture: amd64
Version: 3.0.17-1~deb12u2
Description: Secure Sockets Layer toolkit
 Package: not a field, a continuation
 Version: 9

Package: gone
Status: deinstall ok config-files
Architecture: amd64
Version: 1.0

Package: half
Status: install ok unpacked
Version: 2.0

Package: libc6
Architecture: i386
Version: 2.36
Status: install ok installed
`;

describe('lists of packages', () => {
  it('of dpkg hold what is installed, whatever the order of fields, and no continuation lines', () => {
    expect([...readBlocks(DPKG, DPKG_FIELDS)]).to.deep.equal([
      { name: 'openssl', version: '3.0.17-1~deb12u2', architecture: 'amd64', source: 'dpkg' },
      { name: 'libc6', version: '2.36', architecture: 'i386', source: 'dpkg' },
    ]);
  });

  it('of apk and rpm are read too; keys that rpm keeps are no packages', () => {
    const apk = 'C:Q1x=\nP:musl\nV:1.2.5-r0\nA:x86_64\nF:lib\n\nP:nothing\n\n';
    expect([...readBlocks(apk, APK_FIELDS)]).to.deep.equal([
      { name: 'musl', version: '1.2.5-r0', architecture: 'x86_64', source: 'apk' },
    ]);
    const rpm = 'kernel\t5.14.0-1\tx86_64\nkernel\t5.14.0-2\tx86_64\ngpg-pubkey\t8483c65d-5ccc5b19\t(none)\n\n';
    expect([...readRpmLines(rpm)].map(({ version }) => version)).to.deep.equal(['5.14.0-1', '5.14.0-2']);
  });

  it('with what cannot be stored are made storable', () => {
    const [item] = readBlocks('P:a\0b\nV:1\ud800\nA:x\n', APK_FIELDS);
    expect(item).to.deep.equal({ name: 'a\uFFFDb', version: '1\uFFFD', architecture: 'x', source: 'apk' });
    expect([...readBlocks(`P:${'n'.repeat(300)}\nV:1\nA:x\n`, APK_FIELDS)][0]?.name).to.have.length(255);
  });
});

describe('the collector of packages', () => {
  const folder = mkdtempSync(join(tmpdir(), 'wardbeat-packages-'));
  const paths = {
    dpkg: join(folder, 'status'),
    apk: join(folder, 'apk'),
    rpm: [join(folder, 'rpmdb')],
    rpmCommand: '',
  };
  after(() => rmSync(folder, { recursive: true }));

  it('reads a database again once it has changed, and nothing where there is none', async () => {
    const collector = createPackagesCollector(clock, paths);
    expect(await collector.collect(signal)).to.deep.equal({ items: [], total: 0 });
    writeFileSync(paths.dpkg, DPKG);
    const first = await collector.collect(signal);
    expect(first.total).to.equal(2);
    expect(await collector.collect(signal)).to.equal(first);
    writeFileSync(paths.dpkg, DPKG.replace('3.0.17', '3.0.18'));
    utimesSync(paths.dpkg, 1, 1);
    expect((await collector.collect(signal)).items[0]?.version).to.equal('3.0.18-1~deb12u2');
  });

  it('says so where rpm has packages and cannot be asked, and asks it where it can', async () => {
    writeFileSync(paths.rpm[0]!, 'x');
    const absent = createPackagesCollector(clock, { ...paths, rpmCommand: join(folder, 'no-rpm') });
    const failure = await absent.collect(signal).catch((error: Error) => error.message);
    expect(failure).to.equal('rpm is not installed');
    const rpm = join(folder, 'rpm');
    writeFileSync(rpm, '#!/bin/sh\nprintf "bash\\t5.1-9\\tx86_64\\n"\n', { mode: 0o755 });
    const asked = await createPackagesCollector(clock, { ...paths, rpmCommand: rpm }).collect(signal);
    expect(asked.items.at(-1)).to.deep.equal({ name: 'bash', version: '5.1-9', architecture: 'x86_64', source: 'rpm' });
  });

  it('ends an rpm that hangs at the abort', async () => {
    const rpm = join(folder, 'rpm-hangs');
    writeFileSync(rpm, '#!/bin/sh\nsleep 600\n', { mode: 0o755 });
    const aborter = new AbortController();
    const running = createPackagesCollector(clock, { ...paths, dpkg: '', apk: '', rpmCommand: rpm }).collect(
      aborter.signal,
    );
    aborter.abort(new Error('too long'));
    expect(await running.catch((error: Error) => error.message)).to.equal('too long');
  });

  it('bounds what is listed and counts all', async function () {
    this.timeout(20_000);
    const many = Array.from({ length: 20_003 }, (_, index) => `P:p${index}\nV:1\nA:x\n\n`).join('');
    writeFileSync(paths.apk, many);
    const { items, total } = await createPackagesCollector(clock, { ...paths, dpkg: '', rpm: [] }).collect(signal);
    expect([items.length, total]).to.deep.equal([20_000, 20_003]);
  });
});

const HEADING = '  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode';
const line = (...[local, remote, state, inode]: readonly [string, string, string, number]): string =>
  `   0: ${local} ${remote} ${state} 00000000:00000000 00:00000000 00000000  1000        0 ${inode} 1 0000 100 0`;

describe('lists of sockets', () => {
  it('give addresses of both families as people write them', () => {
    const at = (address: string): string | undefined =>
      parseSocketLine(line(`${address}:0016`, `${address}:0000`, '0A', 1))?.localAddress;
    expect(at('0100007F')).to.equal('127.0.0.1');
    expect(at('00000000000000000000000000000000')).to.equal('::');
    expect(at('00000000000000000000000001000000')).to.equal('::1');
    expect(at('0000000000000000FFFF00000100007F')).to.equal('::ffff:127.0.0.1');
    expect(at('B80D0120000000000000000001000000')).to.equal('2001:db8::1');
    expect(at('000080FE00000000FFAD5C02C0040EFE')).to.equal('fe80::25c:adff:fe0e:4c0');
    expect(parseSocketLine(HEADING)).to.equal(undefined);
    expect(parseSocketLine('nonsense')).to.equal(undefined);
  });

  it('become ports and connections with the process that has them, bounded and counted', async () => {
    const proc = mkdtempSync(join(tmpdir(), 'wardbeat-proc-'));
    mkdirSync(join(proc, 'net'));
    mkdirSync(join(proc, '42/fd'), { recursive: true });
    writeFileSync(join(proc, '42/comm'), 'sshd\n');
    symlinkSync('socket:[77]', join(proc, '42/fd/3'));
    const tcp = [
      HEADING,
      line('00000000:0016', '00000000:0000', '0A', 77),
      line('0100007F:9C40', '0200007F:01BB', '01', 78),
    ];
    const timeWait = line('0100007F:9C41', '0200007F:01BB', '06', 0);
    writeFileSync(join(proc, 'net/tcp'), [...tcp, timeWait, ''].join('\n'));
    const udp = [line('00000000:0044', '00000000:0000', '07', 79), line('0100007F:9000', '0200007F:0035', '01', 80)];
    writeFileSync(join(proc, 'net/udp'), [HEADING, ...udp, ''].join('\n'));
    const collector = createSocketsCollector(clock, proc);
    const { listeningPorts, connections } = await collector.collect(signal);
    expect(listeningPorts).to.deep.equal({
      total: 2,
      items: [
        { protocol: 'tcp', address: '0.0.0.0', port: 22, uid: 1000, process: { pid: 42, name: 'sshd' } },
        { protocol: 'udp', address: '0.0.0.0', port: 68, uid: 1000 },
      ],
    });
    expect(
      connections.items.map(({ protocol, remoteAddress, remotePort }) => [protocol, remoteAddress, remotePort]),
    ).to.deep.equal([
      ['tcp', '127.0.0.2', 443],
      ['udp', '127.0.0.2', 53],
    ]);
    const many = Array.from({ length: 6000 }, (_, port) =>
      line(`0100007F:${port.toString(16).padStart(4, '0').toUpperCase()}`, '0200007F:01BB', '01', 0),
    );
    writeFileSync(join(proc, 'net/tcp'), [HEADING, ...many, ''].join('\n'));
    const busy = await collector.collect(signal);
    expect([busy.connections.items.length, busy.connections.total]).to.deep.equal([5000, 6001]);
    rmSync(proc, { recursive: true });
  });

  it('are read of this machine', async () => {
    const { listeningPorts, connections } = await createSocketsCollector(clock).collect(signal);
    expect(listeningPorts.items.length).to.equal(listeningPorts.total);
    expect(connections.total).to.be.at.least(0);
  });
});
