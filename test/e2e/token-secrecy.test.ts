import { expect } from 'chai';
import { spawnSync } from 'node:child_process';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import { spawnAgent, type AgentRun } from '../support/agent-process.js';
import {
  ADMIN_PASSWORD,
  makeDataDir,
  removeDataDir,
  startManager,
  type ManagerProcess,
} from '../support/manager-process.js';
import { eventually } from '../support/poll.js';

/** `wbt_<secret>_<fingerprint>`: the fingerprint is public. */
const secretOf = (token: string): string => token.split('_')[1] ?? '';

describe('an enrollment token', function () {
  this.timeout(120_000);
  const root = makeDataDir();
  const managerDir = join(root, 'manager');
  let manager: ManagerProcess;
  let policyId: string;

  before(async () => {
    manager = await startManager({ dataDir: managerDir, env: { WARDBEAT_LOG_LEVEL: 'debug' } });
    await manager.api.signIn('admin', ADMIN_PASSWORD);
    const policies = await manager.api.get<{ items: { id: string; name: string }[] }>('/policies');
    policyId = policies.items.find(({ name }) => name === 'Base Policy')?.id ?? '';
  });

  after(async () => {
    await manager?.stop();
    removeDataDir(root);
  });

  const newToken = async () =>
    (
      await manager.api.post<{ token: string }>('/enrollment-tokens', {
        policyId,
        uses: 1,
        expiresInSeconds: 600,
      })
    ).token;

  interface Way {
    readonly args?: readonly string[];
    readonly env?: Record<string, string>;
    readonly input?: string;
  }

  /** Enrolls and, until the process has ended, reads every command line of the machine again and again. */
  const enroll = async (
    dir: string,
    token: string,
    way: Way,
  ): Promise<AgentRun & { sightings: string[]; looks: number }> => {
    const args = ['enroll', '--manager', manager.agentUrl, '--dir', dir, '--json', ...(way.args ?? [])];
    const { ended, child } = spawnAgent(args, {
      ...(way.env ? { env: way.env } : {}),
      ...(way.input === undefined ? {} : { input: way.input }),
    });
    const sightings: string[] = [];
    let looks = 0;
    while (child.exitCode === null) {
      sightings.push(...commandLines().filter((line) => line.includes(secretOf(token))));
      looks += 1;
      await new Promise((resolve) => setImmediate(resolve));
    }
    return { ...(await ended), sightings, looks };
  };

  const ways: readonly [string, (token: string, file: string) => Way][] = [
    ['a file', (_token, file) => ({ args: ['--token-file', file] })],
    ['standard input', (token) => ({ args: ['--token', '-'], input: token })],
    ['standard input as a file', (token) => ({ args: ['--token-file', '-'], input: `${token}\n` })],
    ['the environment', (token) => ({ env: { WARDBEAT_ENROLLMENT_TOKEN: token } })],
    ['a file that the environment names', (_token, file) => ({ env: { WARDBEAT_ENROLLMENT_TOKEN_FILE: file } })],
  ];
  for (const [index, [name, wayOf]] of ways.entries())
    it(`given by ${name} is never in a command line, a log or a data directory`, async () => {
      const token = await newToken();
      const file = join(root, `token-${index}`);
      writeFileSync(file, token, { mode: 0o600 });
      const dir = join(root, `agent-${index}`);
      const ran = await enroll(dir, token, wayOf(token, file));
      expect(ran.code, ran.stderr).to.equal(0);
      expect(ran.looks).to.be.greaterThan(5);
      expect(ran.sightings).to.deep.equal([]);
      expect(ran.stdout + ran.stderr).to.not.contain(secretOf(token));
      expect(ran.stderr).to.not.contain('warning');
      const agent = spawnAgent(['run', '--dir', dir], { env: { WARDBEAT_LOG_LEVEL: 'debug' } });
      const { computerId } = JSON.parse(ran.stdout) as { computerId: string };
      await eventually(
        'it is online',
        async () => (await manager.api.get<{ status: string }>(`/computers/${computerId}`)).status === 'online',
      );
      expect(commandLines().filter((line) => line.includes(secretOf(token)))).to.deep.equal([]);
      const after = await agent.kill('SIGTERM');
      expect(after.stdout + after.stderr + manager.output()).to.not.contain(secretOf(token));
      expect(filesWith(secretOf(token), dir)).to.deep.equal([]);
      expect(filesWith(secretOf(token), managerDir)).to.deep.equal([]);
    });

  it('on the command line works, is warned of, and leaves the process list as soon as the program runs', async () => {
    const token = await newToken();
    const ran = await enroll(join(root, 'agent-flag'), token, { args: ['--token', token] });
    expect(ran.code, ran.stderr).to.equal(0);
    expect(ran.stderr).to.contain('process list').and.not.contain(secretOf(token));
    expect(ran.sightings.length, 'it is found where it is to be seen').to.be.greaterThan(0);
    expect(ran.sightings.length).to.be.lessThan(ran.looks);
    expect(filesWith(secretOf(token), join(root, 'agent-flag'))).to.deep.equal([]);
  });

  it('that is refused is not repeated in what the agent says', async () => {
    const token = (await newToken()).replace(/^wbt_../, 'wbt_00');
    const ran = await enroll(join(root, 'agent-refused'), token, { input: token, args: ['--token', '-'] });
    expect(ran.code).to.equal(4);
    expect(ran.stdout + ran.stderr + manager.output()).to.not.contain(secretOf(token));
  });

  it('would be found in a file if it were there', () => {
    writeFileSync(join(root, 'agent-0', 'planted'), `x${'ab'.repeat(32)}y`);
    expect(filesWith('ab'.repeat(32), join(root, 'agent-0'))).to.have.length(1);
  });
});

/** What `ps` reads. */
function commandLines(): string[] {
  const pids = readdirSync('/proc').filter((name) => /^\d+$/.test(name));
  return pids.map((pid) => {
    try {
      return readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ');
    } catch {
      return '';
    }
  });
}

/** The files below a folder that hold the text, also inside of binary ones. */
function filesWith(text: string, folder: string): string[] {
  const { stdout, status } = spawnSync('grep', ['-rlaF', '-f', '-', folder], { input: text, encoding: 'utf8' });
  if (status === null || status > 1) throw new Error(`grep ended with ${status}`);
  return stdout.split('\n').filter((line) => line !== '');
}
