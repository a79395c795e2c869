import { scrypt, timingSafeEqual, type ScryptOptions } from 'node:crypto';
import { promisify } from 'node:util';
import { createGate } from '../../lib/gate.js';
import { Problem } from '../../lib/problem.js';
import type { Random } from '../../lib/random.js';

const derive = promisify<string, Buffer, number, ScryptOptions, Buffer>(scrypt);

export interface PasswordHasher {
  hash(password: string): Promise<string>;
  /** False without a stored hash too, after the same work. */
  verify(password: string, stored: string | undefined): Promise<boolean>;
}

export interface PasswordHasherOptions {
  readonly random: Random;
  /** log2 of scrypt's N; 17 (128 MiB, OWASP's minimum) unless a test wants it cheaper. */
  readonly log2N?: number;
}

const BLOCK_SIZE = 8;
const PARALLELISM = 1;
const KEY_BYTES = 32;
const SALT_BYTES = 16;
const GATE = {
  width: 2,
  length: 32,
  refusal: () => new Problem('too-many-requests', { detail: 'Many sign in at once; try again.', retryAfterSeconds: 2 }),
};
const STORED = /^scrypt\$(\d{1,2})\$([A-Za-z0-9_-]+)\$([A-Za-z0-9_-]+)$/;

/**
 * scrypt (RFC 7914) with r = 8, p = 1; stored as `scrypt$<log2 N>$<salt>$<key>`, base64url. At most two run at once, as
 * each takes 128 MiB; beyond 32 waiting ones `too-many-requests` is thrown.
 */
export function createPasswordHasher({ random, log2N = 17 }: PasswordHasherOptions): PasswordHasher {
  const gate = createGate(GATE);
  const decoySalt = random.bytes(SALT_BYTES);
  const decoyKey = random.bytes(KEY_BYTES);
  const run = (password: string, salt: Buffer, cost: number) =>
    gate(() => derive(password.normalize('NFKC'), salt, KEY_BYTES, costOptions(cost)));
  return {
    async hash(password) {
      const salt = random.bytes(SALT_BYTES);
      const key = await run(password, salt, log2N);
      return `scrypt$${log2N}$${salt.toString('base64url')}$${key.toString('base64url')}`;
    },
    async verify(password, stored) {
      const known = stored === undefined ? undefined : parse(stored);
      const { cost, salt, key } = known ?? { cost: log2N, salt: decoySalt, key: decoyKey };
      const derived = await run(password, salt, cost);
      return timingSafeEqual(derived, key) && known !== undefined;
    },
  };
}

function costOptions(log2N: number): ScryptOptions {
  const N = 2 ** log2N;
  return { N, r: BLOCK_SIZE, p: PARALLELISM, maxmem: 256 * N * BLOCK_SIZE };
}

function parse(stored: string): { readonly cost: number; readonly salt: Buffer; readonly key: Buffer } | undefined {
  const [, cost, salt, key] = STORED.exec(stored) ?? [];
  if (cost === undefined || salt === undefined || key === undefined) return undefined;
  const bytes = Buffer.from(key, 'base64url');
  if (bytes.length !== KEY_BYTES) return undefined;
  return { cost: Number(cost), salt: Buffer.from(salt, 'base64url'), key: bytes };
}
