import { expect } from 'chai';
import type { ChildProcess } from 'node:child_process';
import { join } from 'node:path';
import {
  ADMIN_PASSWORD,
  makeDataDir,
  readRunFile,
  removeDataDir,
  spawnManager,
  startManager,
} from '../support/manager-process.js';

const DEBUG = { WARDBEAT_LOG_LEVEL: 'debug' };
/** Kills between the log lines: after so many milliseconds. */
const MOMENTS = [50, 200, 400, 600, 800, 1000, 1200, 1500, 2000];
const EVERY_LINES = 3;
const STARTED_WITHIN_MS = 60_000;

interface FirstStart {
  readonly lines: number;
  readonly isServing: boolean;
}

/** Starts a manager on an empty folder and kills it when `isTime` says so, or when it serves. */
async function firstStart(dataDir: string, isTime: (lines: number, ms: number) => boolean): Promise<FirstStart> {
  const child: ChildProcess = spawnManager(dataDir, DEBUG);
  const startedAt = performance.now();
  const ended = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  let lines = 0;
  let isServing = false;
  const killIfTime = (): void => {
    if (isTime(lines, performance.now() - startedAt) || isServing) child.kill('SIGKILL');
  };
  for (const stream of [child.stdout, child.stderr])
    stream?.on('data', (chunk: Buffer) => {
      for (const _ of chunk.toString().matchAll(/\n/g)) {
        lines += 1;
        killIfTime();
      }
    });
  const watch = setInterval(() => {
    isServing = hasRunFile(dataDir, child.pid);
    killIfTime();
  }, 5);
  const tooLong = setTimeout(() => child.kill('SIGKILL'), STARTED_WITHIN_MS);
  await ended;
  clearInterval(watch);
  clearTimeout(tooLong);
  return { lines, isServing };
}

function hasRunFile(dataDir: string, pid: number | undefined): boolean {
  try {
    return readRunFile(dataDir, pid) !== undefined;
  } catch {
    return false;
  }
}

describe('a first start that is killed', function () {
  this.timeout(600_000);
  const root = makeDataDir();
  after(() => removeDataDir(root));

  async function expectWhole(dataDir: string): Promise<void> {
    const manager = await startManager({ dataDir });
    try {
      await manager.api.signIn('admin', ADMIN_PASSWORD);
      const { items } = await manager.api.get<{ items: { name: string }[] }>('/policies');
      expect(items.map(({ name }) => name)).to.deep.equal(['Base Policy']);
      const { auditProtected } = await manager.api.get<{ auditProtected: boolean }>('/system');
      expect(auditProtected).to.equal(true);
    } finally {
      await manager.stop();
    }
  }

  it('after every third of its log lines is mended by the next one', async () => {
    for (let line = 1; ; line += EVERY_LINES) {
      const dataDir = join(root, `line-${line}`);
      const { isServing } = await firstStart(dataDir, (lines) => lines >= line);
      await expectWhole(dataDir);
      if (isServing) break;
    }
  });

  it('at any moment, and again at another, is mended by the next one', async () => {
    for (const [index, moment] of MOMENTS.entries()) {
      const dataDir = join(root, `moment-${moment}`);
      await firstStart(dataDir, (_lines, ms) => ms >= moment);
      await firstStart(dataDir, (_lines, ms) => ms >= (MOMENTS[MOMENTS.length - 1 - index] ?? 0));
      await expectWhole(dataDir);
    }
  });
});
