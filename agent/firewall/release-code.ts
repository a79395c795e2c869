import { createHash, timingSafeEqual } from 'node:crypto';

import type { Clock } from '../../lib/clock.js';
import { Problem } from '../../lib/problem.js';
import { createTokenBucket, type TokenBucket } from '../../lib/token-bucket.js';
import { releaseDigestOf } from '../../protocol/release-code.js';

const TRIES = 5;
const TRIES_PER_SECOND = TRIES / 60;

/** Judges codes that are typed at the computer: few at a time. */
export class ReleaseCodes {
  readonly #clock: Clock;
  readonly #bucket: TokenBucket = createTokenBucket(TRIES_PER_SECOND, TRIES);

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Whether it is the code of this digest. Throws `too-many-requests`. */
  isRight(code: string, digest: string | undefined): boolean {
    const now = this.#clock.monotonic();
    const waitMs = this.#bucket.waitMs(now);
    if (waitMs > 0)
      throw new Problem('too-many-requests', {
        detail: `Too many codes were tried: try again in ${Math.ceil(waitMs / 1000)} s.`,
        retryAfterSeconds: Math.ceil(waitMs / 1000),
      });
    this.#bucket.take(now);
    const [given, wanted] = [sha256(releaseDigestOf(code)), sha256(digest ?? '')];
    return digest !== undefined && timingSafeEqual(given, wanted);
  }
}

function sha256(text: string): Buffer {
  return createHash('sha256').update(text).digest();
}
