import { expect } from 'chai';
import { spawn, type ChildProcess } from 'node:child_process';
import { join } from 'node:path';
import { dataDirectory } from '../../agent/data-directory.js';
import { callAgent } from '../../agent/local-socket/socket-client.js';
import type { AppendedRange } from '../../agent/spool/spool.js';
import type { AgentStatus } from '../../agent/status.js';
import { createSystemClock } from '../../lib/clock.js';
import { FakeManager } from '../support/agent-fake-manager.js';
import { enrollInProcess } from '../support/agent-in-process.js';
import { runAgent, spawnAgent, temporaryFolder, until, type AgentProcess } from '../support/agent-process.js';
import { skipFor } from '../support/skip.js';
import { fillDisk, missingFor, mountMemory } from '../support/small-disk.js';

const clock = createSystemClock();
const DISK_MEGABYTES = 2;

interface Gap {
  readonly lane: string;
  readonly count: number;
}

/** What happens to the agent behind 50 events that it accepted. */
const ORDERS: readonly (readonly Step[])[] = [
  ['fill', 'many', 'room', 'many'],
  ['fill', 'one', 'one', 'room', 'one'],
  ['fill', 'many', 'one', 'kill', 'room'],
  ['fill', 'kill', 'many', 'room', 'kill'],
  ['fill', 'many', 'room', 'one', 'kill', 'many'],
];

describe('an agent whose disk is small, full or failing', function () {
  this.timeout(180_000);
  let folder: ReturnType<typeof temporaryFolder>;
  let manager: FakeManager;
  let agent: AgentProcess | undefined;
  let unmount: (() => void) | undefined;
  const tracers: ChildProcess[] = [];
  const dir = () => join(folder.path, 'disk', 'agent');

  let ends = 0;
  /** Under a supervisor, which starts it again when it ends by itself. */
  const start = (words: readonly string[] = []): void => {
    const started = words.length > 0 ? wrapped(words) : spawnAgent(['run', '--dir', dir()], { env: SUPERVISED });
    agent = started;
    void started.ended.then(() => {
      if (agent !== started) return;
      ends += 1;
      start();
    });
  };
  const end = async (): Promise<void> => {
    const running = agent;
    agent = undefined;
    await running?.kill('SIGKILL');
  };
  /** The agent behind another program. */
  function wrapped(words: readonly string[]): AgentProcess {
    const [command = '', ...args] = words;
    const child = spawn(command, [...args, process.execPath, 'dist/agent/main.js', 'run', '--dir', dir()], {
      stdio: ['ignore', 'pipe', 'pipe'],
      detached: true,
      env: { ...process.env, ...SUPERVISED },
    });
    let stderr = '';
    child.stderr.on('data', (chunk: Buffer) => (stderr += chunk.toString()));
    const ended = new Promise<{ code: number | null; stdout: string; stderr: string }>((done) =>
      child.once('close', (code) => done({ code, stdout: '', stderr })),
    );
    return {
      child,
      ended,
      stderr: () => stderr,
      kill(signal) {
        if (child.exitCode === null) process.kill(-(child.pid ?? 0), signal);
        return ended;
      },
    };
  }
  const heard = (): number => manager.reports.length;
  const beats = async (count = 3): Promise<void> => {
    const before = heard();
    await until(`${count} more heartbeats`, () => heard() >= before + count, 30_000);
  };
  const emit = (kind: string, count = 1, message = 'x'.repeat(400)) =>
    callAgent(
      { folder: dir(), name: 'agent.sock', clock, milliseconds: 60_000 },
      { op: 'emit', kind, severity: kind === 'detection' ? 'high' : 'info', message, count },
    ) as Promise<AppendedRange>;
  const status = async (): Promise<AgentStatus> => {
    const { stdout } = await runAgent(['status', '--json', '--dir', dir()]);
    return JSON.parse(stdout) as AgentStatus;
  };
  const codeOf = (call: Promise<unknown>): Promise<string> =>
    call.then(
      () => 'accepted',
      (error: { code?: string }) => String(error.code),
    );
  const spoolPart = () => manager.reports.at(-1)?.report.components.find(({ name }) => name === 'spool');
  const droppedOf = (lane: string): number =>
    manager
      .events('control')
      .filter(({ kind }) => kind === 'spool-gap')
      .map(({ data }) => data as Gap)
      .filter((gap) => gap.lane === lane)
      .reduce((sum, { count }) => sum + count, 0);

  beforeEach(async function () {
    ends = 0;
    const missing = missingFor('mount', 'umount');
    if (missing) skipFor(this, missing);
    folder = temporaryFolder();
    unmount = mountMemory(join(folder.path, 'disk'), DISK_MEGABYTES).unmount;
    manager = await FakeManager.start(folder.path);
    manager.intervalMs = 1000;
    await enrollInProcess(dataDirectory(dir()), manager);
  });
  afterEach(async () => {
    for (const tracer of tracers.splice(0)) tracer.kill('SIGKILL');
    await end();
    await manager?.close();
    unmount?.();
    unmount = undefined;
    folder?.remove();
  });

  it(`drops the oldest on ${DISK_MEGABYTES} MB, the least urgent first, counted exactly, and beats on`, async () => {
    manager.maxEventsPerReport = 0;
    start();
    await beats();
    const accepted = { detection: 0, log: 0, metric: 0 };
    for (let round = 0; round < 60; round += 1)
      for (const [kind, count] of [
        ['metric', 100],
        ['log', 100],
        ['detection', 1],
      ] as const) {
        await emit(kind, count);
        accepted[kind] += count;
      }
    await beats();
    const { spool } = await status();
    console.error(JSON.stringify({ accepted, spool }));
    expect(spool.failure).to.equal(null);
    expect(spool.lanes.detection.dropped).to.equal(0);
    expect(spool.lanes.metric.dropped).to.be.greaterThan(0);
    manager.maxEventsPerReport = 1000;
    await until('all that is left has arrived', () => spoolIsEmpty(), 60_000);
    for (const lane of ['detection', 'log', 'metric'] as const)
      expect(manager.events(lane).length + droppedOf(lane), lane).to.equal(accepted[lane]);
    const sequences = manager.events('log').map(({ sequence }) => sequence);
    expect(sequences).to.deep.equal(sequences.toSorted((a, b) => a - b));
  });

  function spoolIsEmpty(): boolean {
    const lanes = manager.reports.at(-1)?.report.spool?.lanes ?? [];
    return lanes.length > 0 && lanes.filter(({ lane }) => lane !== 'control').every(({ waiting }) => waiting === 0);
  }

  it('beats on while others have filled the disk, accepts nothing, says so, and goes on when room returns', async () => {
    start();
    await beats();
    await emit('log', 10);
    const filler = fillDisk(join(folder.path, 'disk'));
    await until('the spool takes nothing', async () => (await codeOf(emit('log', 50))) === 'spool-unavailable', 30_000);
    await beats();
    expect(spoolPart()).to.deep.include({ state: 'offline' });
    expect(spoolPart()?.detail).to.match(/no space/i);
    expect((await status()).spool.failure).to.match(/no space/i);
    const { stdout } = await runAgent(['status', '--dir', dir()]);
    expect(stdout).to.match(/^spool .*accepts nothing: .*no space/im);
    const refused = await runAgent(['emit', '--dir', dir(), '--kind', 'log', '--severity', 'low', '--message', 'm']);
    expect([refused.code, /no space/i.test(refused.stderr)], refused.stderr).to.deep.equal([1, true]);
    await restartsWithoutDisk();
    filler.empty();
    await until('it accepts again', async () => (await codeOf(emit('log'))) === 'accepted', 60_000);
    await until('it tells so', () => manager.events('control').some(({ kind }) => kind === 'spool-recovered'), 30_000);
    await beats();
    expect(spoolPart()).to.deep.include({ state: 'online' });
    expect(manager.events('log').length).to.be.at.least(10);
    // Once, to read what it could not when it was started.
    expect(ends).to.equal(1);
  });

  /** Killed and started on the full disk it beats all the same, and does not end. */
  async function restartsWithoutDisk(): Promise<void> {
    await end();
    const before = heard();
    start();
    await until('it is heard', () => heard() >= before + 3, 30_000);
    expect(ends).to.equal(0);
    expect(spoolPart()).to.deep.include({ state: 'offline' });
  }

  for (const order of ORDERS)
    it(`keeps what it accepted, and nothing else: ${order.join(', ')}`, async () => {
      manager.maxEventsPerReport = 0;
      start();
      await beats();
      let accepted = 50;
      await emit('detection', accepted);
      let filler: { empty(): void } | undefined;
      const steps: Readonly<Record<Step, () => unknown>> = {
        fill: () => (filler = fillDisk(join(folder.path, 'disk'))),
        one: async () => (accepted += (await codeOf(emit('detection', 1))) === 'accepted' ? 1 : 0),
        // More than fits beside the end of the log, in one write.
        many: async () => (accepted += (await codeOf(emit('detection', 100))) === 'accepted' ? 100 : 0),
        kill: async () => {
          await end();
          start();
          await beats();
        },
        room: () => filler?.empty(),
      };
      for (const step of order) {
        await steps[step]();
        const { detection } = (await status()).spool.lanes;
        expect(detection.dropped, step).to.equal(0);
      }
      manager.maxEventsPerReport = 1000;
      await until('it accepts again', async () => (await codeOf(emit('detection'))) === 'accepted', 60_000);
      accepted += 1;
      await until('what was accepted has arrived', () => manager.events('detection').length >= accepted, 60_000);
      await beats();
      expect(manager.events('detection')).to.have.length(accepted);
      expect(manager.events('control').filter(({ kind }) => kind === 'spool-gap')).to.deep.equal([]);
      expect((await status()).spool.lanes.detection).to.include({ waiting: 0, dropped: 0 });
    });

  it('does not acknowledge what fsync refuses, beats on, and goes on when it works again', async function () {
    const missing = missingFor('strace');
    if (missing) skipFor(this, missing);
    start();
    await beats();
    await emit('log', 5);
    const tracer = spawn('strace', [...FAILING_SYNC, '-p', String(agent?.child.pid)], { stdio: 'ignore' });
    tracers.push(tracer);
    await until('the spool takes nothing', async () => (await codeOf(emit('log'))) === 'spool-unavailable', 30_000);
    await beats();
    expect(spoolPart()).to.deep.include({ state: 'offline' });
    expect((await status()).spool.failure).to.match(/i\/o|input\/output/i);
    tracer.kill('SIGTERM');
    await until('it accepts again', async () => (await codeOf(emit('log', 7))) === 'accepted', 60_000);
    await beats();
    expect(ends).to.equal(0);
    expect(spoolPart()).to.deep.include({ state: 'online' });
    await until('what was accepted has arrived', () => manager.events('log').length >= 12, 30_000);
  });

  it('starts and beats where no fsync works, and does not end', async function () {
    const missing = missingFor('strace');
    if (missing) skipFor(this, missing);
    start();
    await beats();
    await emit('log', 5);
    await end();
    start(['strace', ...FAILING_SYNC, '-o', '/dev/null']);
    const before = heard();
    await until('it is heard', () => heard() >= before + 3, 60_000);
    expect(await codeOf(emit('log'))).to.equal('spool-unavailable');
    expect(ends).to.equal(0);
  });
});

type Step = 'fill' | 'one' | 'many' | 'kill' | 'room';

const SUPERVISED = { WARDBEAT_SUPERVISED: '1' };
const FAILING_SYNC = ['-f', '-qq', '-e', 'trace=fsync,fdatasync', '-e', 'inject=fsync,fdatasync:error=EIO'];
