import { expect } from 'chai';
import { chmodSync, chownSync, cpSync, existsSync, readFileSync, rmSync, unlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import { runCommandLine } from '../../../agent/commands.js';
import type { Daemon } from '../../../agent/daemon.js';
import { dataDirectory, nextDirectory, readIdentity } from '../../../agent/data-directory.js';
import { enrollDirectory } from '../../../agent/enroll-directory.js';
import { readLocalProxies } from '../../../agent/proxies/proxy-files.js';
import { readIfThere } from '../../../agent/service/install.js';
import { DurableStore } from '../../../agent/spool/durable-store.js';
import { parseManagerUrl } from '../../../agent/transport/tls-connection.js';
import { createSystemClock, readBootId } from '../../../lib/clock.js';
import { createSystemRandom } from '../../../lib/random.js';
import { formatEnrollmentToken } from '../../../protocol/enrollment-token.js';
import { FakeManager } from '../../support/agent-fake-manager.js';
import { composeInProcess } from '../../support/agent-in-process.js';
import { temporaryFolder, until } from '../../support/agent-process.js';
import { RogueProxy } from '../../support/rogue-proxy.js';

const clock = createSystemClock();
const DAY_MS = 86_400_000;

describe('enroll in an enrolled directory', function () {
  this.timeout(20_000);
  let folder: ReturnType<typeof temporaryFolder>;
  let manager: FakeManager;
  let daemon: Daemon | undefined;

  const directory = () => dataDirectory(join(folder.path, 'web1'));
  const freshToken = () =>
    formatEnrollmentToken({ secret: 'cd'.repeat(32), caFingerprint: manager.authority.rootFingerprint });
  const enrollWith = (token: string, changes: { url?: string; wallShiftMs?: number } = {}) =>
    enrollDirectory({
      directory: directory(),
      manager: parseManagerUrl(changes.url ?? manager.url)!,
      token,
      name: 'web1',
      agentVersion: '0.1.0',
      platform: 'test',
      bootId: readBootId(),
      clock: { ...clock, wall: () => clock.wall() + (changes.wallShiftMs ?? 0) },
    });
  const start = async (): Promise<Daemon> => {
    daemon = await composeInProcess(directory(), { listenerPort: 0 });
    await daemon.start();
    return daemon;
  };
  const stop = async () => {
    await daemon?.abort();
    daemon = undefined;
  };
  /** Runs the agent into a refusal and leaves an event and an unanswered report behind. */
  const loseIdentity = async (code: string) => {
    const running = await start();
    await until('in contact', () => running.status().state === 'online' && running.status().settings.applied !== null);
    await stop();
    manager.faults.push({ kind: 'problem', status: 403, code });
    const again = await start();
    await until('refused', () => again.status().lastError?.code === code);
    await again.spool.append('detection', { kind: 'detection', severity: 'high', message: 'kept' });
    await stop();
  };
  const messageOf = (attempt: Promise<unknown>): Promise<string> =>
    attempt.then(
      () => 'done',
      (error: Error) => error.message,
    );

  beforeEach(async () => {
    folder = temporaryFolder();
    manager = await FakeManager.start(folder.path);
  });

  afterEach(async () => {
    await stop();
    await manager.close();
    folder.remove();
  });

  for (const code of ['computer-removed', 'computer-revoked', 'certificate-refused']) {
    it(`replaces an identity after ${code}: new key, events kept, the rest begun anew`, async () => {
      const old = await enrollWith(manager.token);
      const oldKey = readFileSync(directory().keyFile, 'utf8');
      await loseIdentity(code);
      const fresh = await enrollWith(freshToken());
      expect(fresh.computerId).not.to.equal(old.computerId);
      expect(readFileSync(directory().keyFile, 'utf8')).not.to.equal(oldKey);
      expect(existsSync(nextDirectory(directory()).path)).to.equal(false);
      manager.reports.length = 0;
      const running = await start();
      await until('in contact', () => running.status().state === 'online');
      const first = manager.reports[0]!.report;
      expect(first.computerId).to.equal(fresh.computerId);
      expect([first.identityToken, first.appliedFingerprint, first.previousExchange]).to.deep.equal([
        undefined,
        undefined,
        undefined,
      ]);
      expect(manager.events('detection').map(({ message }) => message)).to.deep.equal(['kept']);
      await stop();
      expect(await messageOf(enrollWith(manager.token))).to.contain('already enrolled');
    });
  }

  it('remembers the refusal over later failures, and forgets it after an exchange', async () => {
    await enrollWith(manager.token);
    await loseIdentity('computer-removed');
    await manager.close();
    const alone = await start();
    await until('nobody there', () => alone.status().lastError?.code === 'refused');
    await stop();
    await manager.listen();
    cpSync(directory().path, join(folder.path, 'copy'), { recursive: true });
    const running = await start();
    await until('in contact', () => running.status().state === 'online');
    await stop();
    expect(await messageOf(enrollWith(freshToken()))).to.contain('already enrolled');
    rmSync(directory().path, { recursive: true });
    cpSync(join(folder.path, 'copy'), directory().path, { recursive: true });
    expect(await messageOf(enrollWith(freshToken()))).to.equal('done');
  });

  it('does not enroll anew while a refused agent runs', async () => {
    await enrollWith(manager.token);
    manager.faults.push({ kind: 'problem', status: 403, code: 'computer-removed' });
    const running = await start();
    await until('refused', () => running.status().state === 'refused');
    expect(await messageOf(enrollWith(freshToken()))).to.contain('stop it first');
  });

  it('replaces an expired certificate', async () => {
    const old = await enrollWith(manager.token);
    // The fake manager's certificates for computers last 30 days.
    const fresh = await enrollWith(freshToken(), { wallShiftMs: 40 * DAY_MS });
    expect(fresh.computerId).not.to.equal(old.computerId);
    expect(readIdentity(directory())?.computerId).to.equal(fresh.computerId);
  });

  it('answers what it has for the same token and manager, also while the agent runs, and refuses any other', async () => {
    const first = await enrollWith(manager.token);
    const before = readFileSync(directory().identityFile, 'utf8');
    expect((await enrollWith(manager.token)).computerId).to.equal(first.computerId);
    await start();
    expect((await enrollWith(manager.token)).computerId).to.equal(first.computerId);
    expect(await messageOf(enrollWith(freshToken()))).to.contain('already enrolled');
    await stop();
    const other = await messageOf(enrollWith(freshToken()));
    expect(other).to.contain(`already enrolled at ${manager.url} as web1 (${first.computerId}); use another --dir`);
    expect(await messageOf(enrollWith(manager.token, { url: 'https://127.0.0.2:1' }))).to.equal(other);
    expect(readFileSync(directory().identityFile, 'utf8')).to.equal(before);
    expect(manager.enrolled.size).to.equal(1);
    expect(manager.dials).to.be.lessThan(4);
  });

  describe('with proxies', () => {
    const secretFile = () => join(folder.path, 'secret');
    let proxy: RogueProxy;
    const enroll = async (...flags: string[]): Promise<[number, string]> => {
      const told: string[] = [];
      const to = ['--manager', manager.url, '--token', '-', '--dir', directory().path];
      const code = await runCommandLine(['enroll', ...to, ...flags], {
        clock,
        random: createSystemRandom(),
        around: {
          env: {},
          hostname: 'web1',
          readFile: (path) => (path === '-' ? manager.token : readFileSync(path, 'utf8')),
          warn: (text) => void told.push(text),
        },
        print: (text) => void told.push(text),
        complain: (text) => void told.push(text),
        untilAskedToStop: () => Promise.resolve(),
        program: { node: process.execPath, script: 'dist/agent/main.js' },
      });
      return [code, told.join('\n')];
    };
    const changes = async (...flags: string[]): Promise<void> => {
      const files = () => ['proxies.json', 'secrets.json'].map((name) => readIfThere(join(directory().path, name)));
      const before = files();
      const [code, told] = await enroll(...flags);
      expect(code, flags.join(' ')).to.equal(2);
      expect(told).to.contain('already enrolled').and.to.contain('wardbeat-agent proxy set');
      expect(files()).to.deep.equal(before);
    };

    beforeEach(async () => {
      proxy = await RogueProxy.start();
      writeFileSync(secretFile(), 'agent:open:sesame\n');
    });
    afterEach(() => proxy.close());

    it('refuses a list where none was set, and leaves all as it is', async () => {
      expect((await enroll())[0]).to.equal(0);
      await changes('--proxy', proxy.url, '--no-direct');
      await changes('--proxy', 'http://127.0.0.1:1');
      await changes('--proxy', proxy.url, '--credential', 'corp', '--secret-file', secretFile());
      await start();
      await changes('--proxy', proxy.url);
    });

    it('says that it enrolled directly, where the proxies led nowhere and that is allowed', async () => {
      proxy.mischief = 'forbids';
      const [code, told] = await enroll('--proxy', proxy.url);
      expect(code).to.equal(0);
      expect(told).to.contain(`warning: the manager was reached directly; proxy-refused: proxy ${proxy.url}`);
    });

    it('answers what it has for the same list and secret, and refuses any other', async () => {
      const given = ['--proxy', proxy.url, '--no-direct', '--credential', 'corp'];
      const all = [...given, '--secret-file', secretFile()];
      expect((await enroll(...all))[0]).to.equal(0);
      expect(readLocalProxies(directory())).to.deep.include({ direct: false });
      for (const again of [all, given, []]) expect((await enroll(...again))[0]).to.equal(0);
      await changes('--proxy', proxy.url, '--credential', 'corp');
      await changes('--proxy', proxy.url, '--no-direct');
      await changes(...given.with(1, 'http://127.0.0.1:1'));
      writeFileSync(secretFile(), 'agent:another\n');
      await changes(...all);
    });
  });

  it('takes the same manager for the same where an older agent noted no token', async () => {
    const { computerId } = await enrollWith(manager.token);
    const { enrolledWith, ...older } = JSON.parse(readFileSync(directory().identityFile, 'utf8')) as Record<
      string,
      unknown
    >;
    expect(enrolledWith).to.deep.include({ managerUrl: manager.url });
    writeFileSync(directory().identityFile, JSON.stringify(older));
    expect((await enrollWith(freshToken())).computerId).to.equal(computerId);
    expect(await messageOf(enrollWith(manager.token, { url: 'https://127.0.0.2:1' }))).to.contain('already enrolled');
  });

  it('is one whole identity after every step of a replacement, and of an interrupted one', async () => {
    const old = await enrollWith(manager.token);
    await loseIdentity('computer-removed');
    manager.faults.push({ kind: 'lose-reply' });
    expect(await messageOf(enrollWith(freshToken()))).not.to.equal('done');
    expect(readIdentity(directory())?.computerId).to.equal(old.computerId);
    const before = join(folder.path, 'before');
    cpSync(directory().path, before, { recursive: true });
    const fresh = await enrollWith(freshToken());
    expect(manager.enrolled.size).to.equal(2);
    // Every prefix of the writes, in the order that adoption makes them: files of the new identity over the old.
    const next = dataDirectory(join(folder.path, 'half', 'next'));
    const half = dataDirectory(join(folder.path, 'half'));
    const names = ['keyFile', 'certificateFile', 'rootFile', 'identityFile'] as const;
    for (let written = 0; written <= names.length; written += 1) {
      cpSync(before, half.path, { recursive: true });
      for (const name of names) cpSync(directory()[name], next[name]);
      for (const name of names.slice(0, written)) cpSync(directory()[name], half[name]);
      expect(readIdentity(half)?.computerId).to.equal(fresh.computerId);
      rmSync(half.path, { recursive: true });
    }
    // What is left of it afterwards, or was never completed, counts for nothing.
    for (const missing of names) {
      cpSync(before, half.path, { recursive: true });
      for (const name of names) cpSync(directory()[name], next[name]);
      unlinkSync(next[missing]);
      expect(readIdentity(half)?.computerId).to.equal(old.computerId);
      rmSync(half.path, { recursive: true });
    }
  });

  it('adopts at the start of the agent what a killed enrollment had completed', async () => {
    await enrollWith(manager.token);
    await loseIdentity('computer-removed');
    const before = join(folder.path, 'before');
    cpSync(directory().path, before, { recursive: true });
    const fresh = await enrollWith(freshToken());
    const identityFiles = ['keyFile', 'certificateFile', 'rootFile', 'identityFile'] as const;
    const written = identityFiles.map((name) => readFileSync(directory()[name]));
    rmSync(directory().path, { recursive: true });
    cpSync(before, directory().path, { recursive: true });
    cpSync(before, nextDirectory(directory()).path, { recursive: true });
    identityFiles.forEach((name, index) => writeFileSync(nextDirectory(directory())[name], written[index]!));
    const running = await start();
    await until('in contact', () => running.status().state === 'online');
    expect(running.computerId).to.equal(fresh.computerId);
    expect(existsSync(nextDirectory(directory()).path)).to.equal(false);
    expect(manager.events('detection')).to.have.length(1);
  });
});

interface Answer {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

describe('files of the agent that are damaged', function () {
  this.timeout(60_000);
  let folder: ReturnType<typeof temporaryFolder>;
  let manager: FakeManager;
  const good = () => join(folder.path, 'good');
  const tried = () => join(folder.path, 'tried');
  /** Runs a command line in this process. */
  const command = async (argv: readonly string[]): Promise<Answer> => {
    const [out, err]: [string[], string[]] = [[], []];
    const code = await runCommandLine(argv, {
      clock,
      random: createSystemRandom(),
      around: { env: {}, hostname: 'web1', readFile: () => manager.token, warn: (text) => void err.push(text) },
      print: (text) => void out.push(text),
      complain: (text) => void err.push(text),
      untilAskedToStop: () => Promise.resolve(),
      program: { node: process.execPath, script: 'dist/agent/main.js' },
    });
    return { code, stdout: out.join('\n'), stderr: err.join('\n') };
  };
  const enroll = (path: string) => command(['enroll', '--manager', manager.url, '--token', '-', '--dir', path]);

  before(async () => {
    folder = temporaryFolder();
    manager = await FakeManager.start(folder.path);
    expect((await enroll(good())).code).to.equal(0);
  });

  after(async () => {
    await manager.close();
    folder.remove();
  });

  const commands: Record<string, () => Promise<Answer>> = {
    run: () => command(['run', '--dir', tried()]),
    status: () => command(['status', '--dir', tried()]),
    emit: () => command(['emit', '--dir', tried(), '--kind', 'log', '--severity', 'info', '--message', 'm']),
    enroll: () => enroll(tried()),
  };
  const rows: readonly [string, string, (content: string) => string][] = [
    ['an empty identity.json', 'identity.json', () => ''],
    ['an identity.json of another shape', 'identity.json', () => '{}'],
    ['an identity.json of another computer', 'identity.json', (text) => text.replace(/[0-9a-f]{8}-/, '00000000-')],
    ['an identity.json without a manager', 'identity.json', (text) => text.replaceAll('https://', 'ftp://')],
    ['an empty agent.crt', 'agent.crt', () => ''],
    ['an agent.crt of nonsense', 'agent.crt', () => 'nonsense'],
    ['an empty agent.key', 'agent.key', () => ''],
    ['an agent.key of another', 'agent.key', () => 'other'],
    ['an empty root.crt', 'root.crt', () => ''],
    ['a root.crt of another', 'root.crt', () => 'other'],
  ];
  for (const [what, name, damage] of rows) {
    it(`names ${what} and exits 2 in every command`, async () => {
      rmSync(tried(), { recursive: true, force: true });
      cpSync(good(), tried(), { recursive: true });
      const file = join(tried(), name);
      const content = damage(readFileSync(file, 'utf8'));
      writeFileSync(file, content === 'other' ? await foreign(name) : content);
      for (const [name, run] of Object.entries(commands)) {
        const { code, stderr, stdout } = await run();
        expect([name, code, stdout], stderr).to.deep.equal([name, 2, '']);
        expect(stderr.trim().split('\n'), stderr).to.have.length(1);
        expect(stderr).to.contain(file).and.contain('remove it and enroll again');
      }
      rmSync(file);
      const mended = await enroll(tried());
      expect([mended.code, mended.stderr]).to.deep.equal([0, '']);
    });
  }

  /** The file of that name of an agent of another manager. */
  const foreign = async (name: string): Promise<Buffer> => {
    const other = temporaryFolder();
    const stranger = await FakeManager.start(other.path);
    await enrollDirectory({
      directory: dataDirectory(other.path),
      manager: parseManagerUrl(stranger.url)!,
      token: stranger.token,
      name: 'web2',
      agentVersion: '0.1.0',
      platform: 'test',
      bootId: readBootId(),
      clock,
    });
    const content = readFileSync(join(other.path, name));
    await stranger.close();
    other.remove();
    return content;
  };

  it('names a directory that cannot be made or is none, and exits 2', async () => {
    rmSync(tried(), { recursive: true, force: true });
    writeFileSync(tried(), '');
    for (const run of Object.values(commands)) {
      const { code, stderr } = await run();
      expect(code, stderr).to.equal(2);
      expect(stderr).to.contain(tried());
    }
    const { code, stderr } = await enroll(join(tried(), 'below'));
    expect([code, stderr.includes(join(tried(), 'below'))], stderr).to.deep.equal([2, true]);
  });

  it('names a store that cannot be used, and exits 2', async () => {
    rmSync(tried(), { recursive: true, force: true });
    cpSync(good(), tried(), { recursive: true });
    rmSync(join(tried(), 'store'), { recursive: true });
    writeFileSync(join(tried(), 'store'), '');
    for (const name of ['run', 'status', 'enroll']) {
      const { code, stderr } = await commands[name]!();
      expect([name, code], stderr).to.deep.equal([name, 2]);
      expect(stderr).to.contain(join(tried(), 'store'));
    }
  });

  it('names a database that another user owns', async function () {
    const { getuid, seteuid } = process;
    if (getuid?.() !== 0 || !seteuid) return this.skip();
    const store = join(folder.path, 'store-of-root');
    const { store: opened } = await DurableStore.open(store, clock);
    await opened.close();
    chmodSync(folder.path, 0o711);
    chownSync(store, 65_534, 65_534);
    seteuid.call(process, 65_534);
    try {
      const message = await DurableStore.open(store, clock).then(
        () => 'opened',
        (error: Error) => error.message,
      );
      expect(message)
        .to.contain(store)
        .and.match(/permission denied/i);
    } finally {
      seteuid.call(process, 0);
    }
  });
});
