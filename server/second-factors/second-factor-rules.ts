import { TOTP } from '../access/totp.js';

const FREE_FAILURES = 5;
const FIRST_WAIT_MS = 30_000;
/** 24 guesses a day are left then, of which three in a million are right: one in 38 years. */
const LONGEST_WAIT_MS = 3_600_000;

export interface CodeFailures {
  /** Wrong codes in a row. */
  readonly failures: number;
  readonly failedAt: Date | null;
}

/**
 * Milliseconds until the next code of an authenticator is looked at. Who gets so far has the password: five wrong codes
 * go, then the wait doubles from half a minute to an hour. Recovery codes are too long to be guessed and never wait.
 * A failure further ahead than its wait is one of a clock that was put right since: it must lock nobody out until then.
 */
export function codeWaitMs({ failures, failedAt }: CodeFailures, nowMs: number): number {
  if (failures < FREE_FAILURES || failedAt === null) return 0;
  const wait = Math.min(LONGEST_WAIT_MS, FIRST_WAIT_MS * 2 ** Math.min(failures - FREE_FAILURES, 20));
  const leftMs = failedAt.getTime() + wait - nowMs;
  return leftMs > 2 * wait ? 0 : Math.max(0, leftMs);
}

export type GivenCode = { readonly kind: 'totp' | 'recovery'; readonly code: string };

const TOTP_CODE = new RegExp(`^[0-9]{${TOTP.digits}}$`);

/** What somebody typed: blanks, hyphens and case do not count. */
export function readCode(text: string): GivenCode {
  const code = text.replaceAll(/[\s-]/g, '').toUpperCase();
  return { kind: TOTP_CODE.test(code) ? 'totp' : 'recovery', code };
}
