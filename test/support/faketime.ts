import { existsSync, mkdirSync, readdirSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

/** What to name where it is absent. */
export const FAKETIME = 'libfaketime (Debian package faketime)';

/** The wall clock of one child process, set by the test while it runs. Its other clocks are the machine's own. */
export interface FakeWall {
  readonly env: Readonly<Record<string, string>>;
  /** Sets the clock so far beside the machine's. */
  stepTo(offsetMs: number): void;
  /** Lets the clock gain so many seconds per second, beginning at the machine's time. */
  gain(secondsPerSecond: number): void;
}

/** The library to preload; undefined where it is not installed. */
export function findFaketime(): string | undefined {
  const folders = existsSync('/usr/lib') ? readdirSync('/usr/lib') : [];
  return ['', ...folders]
    .map((folder) => join('/usr/lib', folder, 'faketime', 'libfaketimeMT.so.1'))
    .find((path) => existsSync(path));
}

export function createFakeWall(library: string, folder: string): FakeWall {
  mkdirSync(folder, { recursive: true });
  const file = join(folder, 'faketime');
  const write = (text: string): void => {
    writeFileSync(`${file}.next`, `${text}\n`);
    renameSync(`${file}.next`, file);
  };
  write('+0');
  return {
    env: {
      LD_PRELOAD: library,
      FAKETIME_TIMESTAMP_FILE: file,
      FAKETIME_NO_CACHE: '1',
      FAKETIME_DONT_FAKE_MONOTONIC: '1',
      NO_FAKE_STAT: '1',
    },
    stepTo(offsetMs) {
      write(`${offsetMs < 0 ? '' : '+'}${(offsetMs / 1000).toFixed(3)}`);
    },
    gain(secondsPerSecond) {
      write(`+0 x${1 + secondsPerSecond}`);
    },
  };
}
