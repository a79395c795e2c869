import { expect } from 'chai';
import { existsSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { createApiClient } from '../support/api-client.js';
import { makeDataDir, removeDataDir, startManager, type ManagerProcess } from '../support/manager-process.js';
import { totpCode, totpStep } from '../../server/access/totp.js';
import { fromBase32 } from '../support/base32.js';
import { eventually } from '../support/poll.js';
import { skipFor } from '../support/skip.js';
import { canMakeTerminals, runOnTerminal, runWardbeat } from '../support/wardbeat-cli.js';

interface AuditRow {
  readonly action: string;
  readonly actor: { readonly id: string; readonly name: string };
}

describe('administration from the shell', function () {
  this.timeout(120_000);
  const root = makeDataDir();
  const dataDir = join(root, 'manager');
  const env = { WARDBEAT_DATA_DIR: dataDir };
  const file = (name: string) => join(dataDir, name);
  let manager: ManagerProcess;
  let running = false;

  async function start(): Promise<void> {
    manager = await startManager({ dataDir, env: { WARDBEAT_ADMIN_PASSWORD: '' } });
    running = true;
  }
  async function stop(): Promise<void> {
    if (running) await manager.stop();
    running = false;
  }
  const reset = (name: string) => runWardbeat(['admin', 'reset-password', name], env);
  const maySignIn = async (name: string, password: string) => {
    const { status } = await createApiClient(manager.adminUrl).request('POST', '/sessions', {
      body: { name, password },
    });
    return status === 201;
  };

  before(start);
  after(async () => {
    await stop();
    removeDataDir(root);
  });

  describe('the first password', () => {
    let first: string;

    it('is in a file that only its owner can read, and not in the output', async () => {
      first = readFileSync(file('first-admin-password'), 'utf8').trimEnd();
      expect(statSync(file('first-admin-password')).mode & 0o777).to.equal(0o600);
      await eventually('the file is named', () => manager.output().includes('first-admin-password'));
      expect(manager.output()).not.to.include(first);
      expect(await maySignIn('admin', first)).to.equal(true);
    });

    it('stays there over a restart and is not made anew', async () => {
      await stop();
      await start();
      expect(readFileSync(file('first-admin-password'), 'utf8').trimEnd()).to.equal(first);
      await eventually('the first lines are printed', () => manager.output().includes('authority'));
      expect(manager.output()).not.to.include('first-admin-password');
    });

    it('is deleted at its first change', async () => {
      await manager.api.signIn('admin', first);
      const body = { currentPassword: first, newPassword: 'a new and longer one' };
      expect((await manager.api.request('POST', '/users/current/password', { body })).status).to.equal(204);
      expect(existsSync(file('first-admin-password'))).to.equal(false);
      expect(await maySignIn('admin', first)).to.equal(false);
    });
  });

  describe('wardbeat admin reset-password', () => {
    const made = (name: string) => readFileSync(file(`password-of-${name}`), 'utf8').trimEnd();

    it('works while the manager runs: new password, old sessions ended, audited', async () => {
      const session = createApiClient(manager.adminUrl);
      await session.signIn('admin', 'a new and longer one');
      await session.post('/users', { name: 'ada', role: 'auditor', password: 'of ada herself' });
      const adas = createApiClient(manager.adminUrl);
      await adas.signIn('ada', 'of ada herself');

      const { code, stdout, stderr } = await reset('ada');
      expect(code, stderr).to.equal(0);
      expect(stdout).to.include(file('password-of-ada')).and.not.include(made('ada'));
      expect(statSync(file('password-of-ada')).mode & 0o777).to.equal(0o600);
      expect((await adas.request('GET', '/sessions/current')).status).to.equal(401);
      expect(await maySignIn('ada', 'of ada herself')).to.equal(false);
      expect(await maySignIn('ada', made('ada'))).to.equal(true);

      const { items } = await session.get<{ items: AuditRow[] }>('/audit?limit=50');
      const row = items.find(({ action }) => action === 'user.password-changed');
      expect(JSON.stringify(row)).to.include('"shell').and.not.include(made('ada'));
    });

    it('prints the password to a terminal only, and leaves no file', async function () {
      if (!canMakeTerminals()) skipFor(this, 'script (util-linux)');
      const { code, stdout } = await runOnTerminal(['admin', 'reset-password', 'ada'], env);
      expect(code, stdout).to.equal(0);
      const [, password = ''] = /shown this once: (\S+)/.exec(stdout) ?? [];
      expect(await maySignIn('ada', password)).to.equal(true);
      expect(existsSync(file('password-of-ada'))).to.equal(false);
    });

    it('takes a second factor away where that is asked for, and says where it stays', async () => {
      const session = createApiClient(manager.adminUrl);
      await session.signIn('admin', 'a new and longer one');
      const { id } = await session.post<{ id: string }>('/users', {
        name: 'eve',
        role: 'auditor',
        password: 'of eve herself',
      });
      const eves = createApiClient(manager.adminUrl);
      await eves.signIn('eve', 'of eve herself');
      const { secret } = await eves.post<{ secret: string }>('/users/current/second-factor', undefined);
      const code = totpCode(fromBase32(secret), totpStep(Date.now()));
      await eves.post('/users/current/second-factor/confirm', { code });
      expect((await reset('eve')).stdout).to.include('--remove-second-factor');
      expect(await maySignIn('eve', made('eve'))).to.equal(false);
      const {
        code: exit,
        stdout,
        stderr,
      } = await runWardbeat(['admin', 'reset-password', 'eve', '--remove-second-factor'], env);
      expect(exit, stderr).to.equal(0);
      expect(stdout).to.include('no second factor any more');
      expect(await maySignIn('eve', made('eve'))).to.equal(true);
      const { items } = await session.get<{ items: AuditRow[] }>('/audit?limit=50');
      const row = items.find(({ action }) => action === 'user.second-factor-removed');
      expect(JSON.stringify(row)).to.include('"shell').and.to.include(id);
      expect((await session.request('DELETE', `/users/${id}`)).status).to.equal(204);
    });

    it('works while the manager does not run, and lets it start afterwards', async () => {
      await stop();
      const { code, stderr } = await reset('admin');
      expect(code, stderr).to.equal(0);
      await start();
      expect(await maySignIn('admin', made('admin'))).to.equal(true);
      await manager.api.signIn('admin', made('admin'));
      const body = { currentPassword: made('admin'), newPassword: 'chosen by the admin' };
      expect((await manager.api.request('POST', '/users/current/password', { body })).status).to.equal(204);
      expect(existsSync(file('password-of-admin'))).to.equal(false);
    });

    for (const [name, words, code, says] of [
      ['an unknown name', ['admin', 'reset-password', 'nobody'], 1, 'No user is named "nobody".'],
      ['no name', ['admin', 'reset-password'], 2, "takes one user's name"],
      ['two names', ['admin', 'reset-password', 'a', 'b'], 2, "takes one user's name"],
      ['an unknown command', ['admin', 'make-coffee'], 2, 'Usage: wardbeat'],
    ] as const) {
      it(`ends with ${code} for ${name}`, async () => {
        const answer = await runWardbeat(words, env);
        expect(answer.code).to.equal(code);
        expect(answer.stderr).to.include(says);
      });
    }

    it('makes nothing where no manager has ever been', async () => {
      const nowhere = join(root, 'nowhere');
      const { code, stderr } = await runWardbeat(['admin', 'reset-password', 'admin'], { WARDBEAT_DATA_DIR: nowhere });
      expect(code).to.equal(1);
      expect(stderr).to.include(nowhere);
      expect(existsSync(nowhere)).to.equal(false);
    });
  });
});
