import { expect } from 'chai';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { ServiceNotifier } from '../../../../agent/service/notifier.js';
import { createSystemClock } from '../../../../lib/clock.js';
import { createLog } from '../../../../lib/log.js';
import { eventually } from '../../../support/poll.js';

/** In the place of systemd-notify: writes down what it was called with. */
const SCRIPT = `#!/bin/sh
printf '%s|' "$NOTIFY_SOCKET" "$@" >> "$(dirname "$0")/calls"
echo >> "$(dirname "$0")/calls"
`;

describe('the word to systemd', () => {
  let folder: string;
  let now = 0;
  const warnings: string[] = [];
  const notifier = (watchdogMs: number | undefined = undefined) =>
    new ServiceNotifier({
      clock: { ...createSystemClock(), monotonic: () => now },
      log: createLog({ name: 'test', level: 'silent', onLine: (line) => void warnings.push(line) }),
      manager: { notifySocket: '/run/notify', watchdogMs, searchPath: `${folder}:/usr/bin:/bin` },
    });
  const calls = () =>
    existsSync(join(folder, 'calls')) ? readFileSync(join(folder, 'calls'), 'utf8').trim().split('\n') : [];

  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'wardbeat-notify-'));
    writeFileSync(join(folder, 'systemd-notify'), SCRIPT, { mode: 0o755 });
  });
  afterEach(() => rmSync(folder, { recursive: true }));

  it('is given in order: nothing before it is ready, and each status on one line', async () => {
    const one = notifier();
    one.status('too early');
    await one.ready('starting');
    one.status('retrying\nREADY=1');
    await one.stopping();
    expect(calls()).to.deep.equal([
      '/run/notify|READY=1|STATUS=starting|',
      '/run/notify|STATUS=retrying READY=1|',
      '/run/notify|STOPPING=1|STATUS=stopping|',
    ]);
  });

  it('tells of many states the last alone before a sign of life, where each call is slow', async () => {
    writeFileSync(
      join(folder, 'systemd-notify'),
      `${SCRIPT}while [ ! -e "$(dirname "$0")/go" ]; do sleep 0.02; done\n`,
    );
    const one = notifier(120_000);
    void one.ready('starting');
    for (const status of ['one', 'two', 'three']) one.status(status);
    one.gotOn();
    await eventually('the first call runs', () => calls().length === 1);
    one.status('four');
    writeFileSync(join(folder, 'go'), '');
    await one.stopping();
    expect(calls().map((call) => call.split('|')[1])).to.deep.equal([
      'READY=1',
      'STATUS=four',
      'WATCHDOG=1',
      'STOPPING=1',
    ]);
  });

  it('tells the watchdog when the loop got on, not too often, and not of its own accord', async () => {
    const one = notifier(120_000);
    expect(one.longestSilenceMs).to.equal(30_000);
    one.gotOn();
    await one.ready('online');
    expect(calls()).to.have.length(1);
    one.gotOn();
    await eventually('the watchdog was told', () => calls().length === 2);
    for (now of [1000, 5000, 14_000]) one.gotOn();
    now = 15_000;
    await eventually('it is told again', () => {
      one.gotOn();
      return calls().length === 3;
    });
    expect(calls().slice(1)).to.deep.equal(['/run/notify|WATCHDOG=1|', '/run/notify|WATCHDOG=1|']);
  });

  it('has no sign of life to give where systemd waits for none', async () => {
    const one = notifier();
    await one.ready('online');
    one.gotOn();
    await one.stopping();
    expect(calls().join()).not.to.contain('WATCHDOG');
  });

  it('never fails, whatever becomes of systemd-notify', async () => {
    rmSync(join(folder, 'systemd-notify'));
    const one = new ServiceNotifier({
      clock: createSystemClock(),
      log: createLog({ name: 'test', level: 'silent' }),
      manager: { notifySocket: '/run/notify', watchdogMs: 1000, searchPath: folder },
    });
    await one.ready('online');
    one.gotOn();
    await one.stopping();
  });
});
