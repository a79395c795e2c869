import { resolve } from 'node:path';
import { pathToFileURL } from 'node:url';

/** Where a manager may be killed on a heartbeat's road. */
export const FAIL_POINTS = [
  /** A statement of a batch was answered. */
  'mid-batch',
  'commit-unsent',
  /** The COMMIT is under way. */
  'commit-sent',
  /** The COMMIT was answered; nobody knows of it yet. */
  'committed',
  'reply-unsent',
  /** The reply was handed to the system. */
  'replied',
] as const;
export type FailPoint = (typeof FAIL_POINTS)[number];

/** The environment of a manager that dies when it passes the point for the n-th time. */
export function dyingAt(point: FailPoint, n: number): Readonly<Record<string, string>> {
  const preload = pathToFileURL(resolve('dist/test/support/failpoint-preload.js')).href;
  return { NODE_OPTIONS: `--import=${preload}`, DRILL_FAILPOINT: `${point}:${n}` };
}
