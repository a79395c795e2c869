import { expect } from 'chai';
import {
  ADMIN_PASSWORD,
  makeDataDir,
  removeDataDir,
  startManager,
  type ManagerProcess,
} from '../support/manager-process.js';
import { eventually } from '../support/poll.js';
import { startUdpSyslog, type SyslogReceiver } from '../support/receivers.js';

interface Job {
  readonly name: string;
  readonly runs: { readonly cron: number };
  readonly lastError: string | null;
}

describe('notifications of the real manager', function () {
  this.timeout(60_000);
  const root = makeDataDir();
  let manager: ManagerProcess;
  let siem: SyslogReceiver;

  before(async () => void (siem = await startUdpSyslog()));
  after(async () => {
    await siem.close();
    await manager?.stop();
    removeDataDir(root);
  });

  const start = async (env: Record<string, string>) => {
    manager = await startManager({ dataDir: root, env });
    await manager.api.signIn('admin', ADMIN_PASSWORD);
  };
  const test = (id: string) => manager.api.post<object>(`/notification-channels/${id}/test`, {});

  it('go nowhere on this machine unless that is allowed, keep their channels and have their job', async () => {
    await start({});
    const body = { name: 'siem', type: 'syslog', host: '127.0.0.1', port: siem.port, protocol: 'udp' };
    const { id } = await manager.api.post<{ id: string }>('/notification-channels', body);
    const error = '127.0.0.1 is not an address that notifications may go to';
    expect(await test(id)).to.include({ delivered: false, code: 'address-refused', error });
    await manager.api.post('/notification-routes', { name: 'all', channelId: id });
    expect(siem.lines).to.deep.equal([]);
    await manager.stop();
    await start({ WARDBEAT_NOTIFY_ALLOWED_CIDRS: '127.0.0.0/8', WARDBEAT_NODE: 'm1' });
    expect(await test(id)).to.include({ delivered: true, error: null });
    await eventually('the test arrives', () => siem.lines.length === 1);
    expect(siem.lines[0]).to.match(/^<134>1 \S+ m1 wardbeat - test - CEF:0\|Wardbeat\|Wardbeat Manager\|/);
    const job = await eventually('the job runs', async () => {
      const { items } = await manager.api.get<{ items: Job[] }>('/system/jobs');
      return items.find(({ name, runs }) => name === 'notifications' && runs.cron > 0);
    });
    expect(job.lastError).to.equal(null);
  });
});
