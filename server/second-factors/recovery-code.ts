import { createHash } from 'node:crypto';
import type { Random } from '../../lib/random.js';
import { toBase32 } from '../access/totp.js';

export const RECOVERY_CODES = 10;
/** 80 bits: sixteen characters. */
const CODE_BYTES = 10;

/** A set of codes as they are shown, in groups of four. */
export function newRecoveryCodes(random: Pick<Random, 'bytes'>): readonly string[] {
  return Array.from({ length: RECOVERY_CODES }, () => {
    const code = toBase32(random.bytes(CODE_BYTES));
    return (code.match(/.{4}/g) ?? []).join('-');
  });
}

/** What is stored: 80 random bits need no slow hash. The user is part of it, so that no two rows can be compared. */
export function hashRecoveryCode(userId: string, code: string): Buffer {
  return createHash('sha256')
    .update(`${userId} ${code.replaceAll('-', '')}`, 'utf8')
    .digest();
}
