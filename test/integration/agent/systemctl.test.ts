import { expect } from 'chai';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';

import { createHostCollectors, systemSources } from '../../../agent/collectors/host-collectors.js';
import { readUnits } from '../../../agent/collectors/systemctl.js';
import { createSystemClock } from '../../../lib/clock.js';
import { eventually } from '../../support/poll.js';
import { skipFor } from '../../support/skip.js';

const NEVER = new AbortController().signal;
const BLOCK = (id: string, state: string) =>
  `printf 'Id=${id}\\nLoadState=loaded\\nActiveState=${state}\\nSubState=x\\n\\n'`;

describe('asking systemctl', function () {
  this.timeout(20_000);
  const folder = mkdtempSync(join(tmpdir(), 'wardbeat-systemctl-'));
  const path = process.env['PATH'] ?? '';
  const inFolder = (name: string) => join(folder, name);
  const fake = (...lines: string[]) =>
    writeFileSync(inFolder('systemctl'), `#!/bin/sh\ncd '${folder}'\n${lines.join('\n')}\n`, { mode: 0o755 });

  beforeEach(() => (process.env['PATH'] = `${folder}${delimiter}${path}`));
  afterEach(() => {
    process.env['PATH'] = path;
    rmSync(inFolder('systemctl'), { force: true });
  });
  after(() => rmSync(folder, { recursive: true }));

  it('makes one bounded call whose names stand behind the end of the options', async () => {
    fake(`printf '%s\\n' "$@" > args`, BLOCK('a.service', 'active'), BLOCK('b.timer', 'failed'));
    const states = await readUnits(['a.service', 'b.timer'], NEVER);
    expect([...states.values()].map(({ state }) => state)).to.deep.equal(['online', 'offline']);
    const args = readFileSync(inFolder('args'), 'utf8').trim().split('\n');
    expect(args.slice(args.indexOf('--'))).to.deep.equal(['--', 'a.service', 'b.timer']);
    expect(args[0]).to.equal('show');
  });

  it('never hands on a match that is no unit name', async () => {
    fake(`printf '%s\\n' "$@" > args`, BLOCK('good.service', 'active'));
    const collectors = createHostCollectors({ clock: createSystemClock(), sources: systemSources('/') });
    const matches = ['good', '--version', '-H x', '/etc/passwd', '$(touch pwned)', 'a;touch pwned', '*'];
    const watched = matches.map((match) => ({ name: match, kind: 'systemdUnit' as const, match }));
    const states = await eventually('systemctl has answered', async () => {
      const { components } = await collectors.snapshot(watched);
      return components[0]?.state === 'online' && components.map(({ state }) => state);
    });
    expect(states).to.deep.equal(['online', ...Array.from({ length: 6 }, () => 'unknown')]);
    const names = readFileSync(inFolder('args'), 'utf8').trim().split('\n--\n')[1];
    expect(names).to.equal('good.service');
    expect(existsSync(inFolder('pwned'))).to.equal(false);
  });

  it('is unknown with a detail where there is no systemd or no systemctl', async () => {
    fake(`echo "System has not been booted with systemd as init system (PID 1). Can't operate." >&2`, 'exit 1');
    const state = (await readUnits(['a.service'], NEVER)).get('a.service');
    expect(state?.state).to.equal('unknown');
    expect(state?.detail).to.contain('not been booted with systemd');
    process.env['PATH'] = inFolder('nowhere');
    const absent = (await readUnits(['a.service'], NEVER)).get('a.service');
    expect(absent).to.deep.equal({ state: 'unknown', detail: 'no systemd here: systemctl is not installed' });
  });

  it('ends one that hangs together with what it started', async () => {
    fake('sleep 600 &', 'echo "$!" > child', 'wait');
    const stop = new AbortController();
    const asked = readUnits(['a.service'], stop.signal).catch((error: unknown) => error);
    const child = await eventually('it runs', () => readFileSync(inFolder('child'), 'utf8').trim() || undefined);
    stop.abort(new Error('too slow'));
    expect(await asked).to.be.instanceOf(Error);
    await eventually('its child has ended', () => !isAlive(child));
  });

  it('ends one that never stops talking', async () => {
    fake('exec yes');
    const states = await readUnits(['a.service'], NEVER);
    expect(states.get('a.service')?.state).to.equal('unknown');
  });

  it('never makes a look at this machine wait for one that hangs', async () => {
    fake('exec sleep 600');
    const collectors = createHostCollectors({ clock: createSystemClock(), sources: systemSources('/') });
    const watched = [{ name: 'a', kind: 'systemdUnit' as const, match: 'a' }];
    const collectorPart = await eventually('the hanging call was ended', async () => {
      const { errors, components } = await collectors.snapshot(watched);
      expect(components[0]?.state).to.equal('unknown');
      return errors.find((error) => error.startsWith('systemctl'));
    });
    expect(collectorPart).to.match(/no end within/);
    const begun = performance.now();
    for (let look = 0; look < 5; look += 1) await collectors.snapshot(watched);
    expect(performance.now() - begun).to.be.lessThan(1000);
  });

  it('reads a unit of this machine where systemd runs', async function () {
    if (!existsSync('/run/systemd/system')) {
      process.env['PATH'] = path;
      const state = (await readUnits(['cron.service'], NEVER)).get('cron.service');
      expect(state?.state).to.equal('unknown');
      return;
    }
    process.env['PATH'] = path;
    const states = await readUnits(['-.slice', 'no-such-unit-anywhere.service'], NEVER);
    if (states.get('-.slice')?.detail.includes('connect')) skipFor(this, 'access to systemd over D-Bus');
    expect(states.get('no-such-unit-anywhere.service')).to.include({ state: 'offline', detail: 'no such unit' });
  });
});

/** A zombie has ended. */
function isAlive(pid: string): boolean {
  try {
    return !/\) [ZX] /.test(readFileSync(`/proc/${pid}/stat`, 'utf8'));
  } catch {
    return false;
  }
}
