import type { Clock } from '../../lib/clock.js';
import { Problem } from '../../lib/problem.js';
import { isPlainObject } from '../../lib/schema.js';
import type { SealedBox } from '../../lib/sealed-box.js';
import type { Actor } from '../access/actor.js';
import { matchingStep } from '../access/totp.js';
import type { AuditLog } from '../audit/index.js';
import type { Sql } from '../database/sql.js';
import { hashRecoveryCode } from './recovery-code.js';
import { createSecondFactorRepository, type SecondFactor } from './second-factor-repository.js';
import { codeWaitMs, readCode } from './second-factor-rules.js';

/** `none`: the user has no second factor, and none is needed. */
export type CodeVerdict =
  { readonly kind: 'none' | 'right' | 'missing' | 'wrong' } | { readonly kind: 'wait'; readonly waitMs: number };

/** Judges the code beside a password that was right. */
export interface SecondFactorJudge {
  /**
   * In the caller's transaction, which has to commit whatever the verdict is: a right code is used up and a wrong one
   * counted. Throws `second-factor-unreadable`.
   */
  judge(sql: Sql, user: Actor, code: string | undefined): Promise<CodeVerdict>;
}

export interface JudgeDeps {
  readonly clock: Clock;
  readonly audit: AuditLog;
  readonly box: SealedBox;
}

export function createSecondFactorJudge({ clock, audit, box }: JudgeDeps): SecondFactorJudge {
  return {
    async judge(sql, user, text) {
      const factors = createSecondFactorRepository(sql);
      const factor = await factors.lock(user.id);
      if (!factor?.confirmedAt) return { kind: 'none' };
      if (text === undefined) return { kind: 'missing' };
      const { kind, code } = readCode(text);
      const nowMs = clock.wall();
      if (kind === 'recovery') {
        if (!(await factors.useRecoveryCode(user.id, hashRecoveryCode(user.id, code), new Date(nowMs))))
          return { kind: 'wrong' };
        const subject = { subjectType: 'user', subjectId: user.id };
        await audit.append(sql, { actor: user, action: 'user.recovery-code-used', ...subject });
        return { kind: 'right' };
      }
      const waitMs = codeWaitMs(factor, nowMs);
      if (waitMs > 0) return { kind: 'wait', waitMs };
      const secret = openSecret(box, user.id, factor);
      const step = matchingStep({ secret, code, wallMs: nowMs, lastStep: factor.lastStep });
      if (step === undefined) await factors.fail(user.id, new Date(nowMs));
      else await factors.succeed(user.id, step);
      return { kind: step === undefined ? 'wrong' : 'right' };
    },
  };
}

/** Where a secret belongs. */
function labelOf(userId: string): string {
  return `second factor of ${userId}`;
}

export function sealSecret(box: SealedBox, userId: string, secret: Buffer): Buffer {
  return box.seal(labelOf(userId), { secret: secret.toString('base64url') });
}

/** Throws `second-factor-unreadable`. */
export function openSecret(box: SealedBox, userId: string, { secret }: Pick<SecondFactor, 'secret'>): Buffer {
  try {
    const opened = box.open(labelOf(userId), secret);
    if (isPlainObject(opened)) return Buffer.from(String(opened['secret']), 'base64url');
  } catch (error) {
    throw new Problem('second-factor-unreadable', {}, error);
  }
  throw new Problem('second-factor-unreadable');
}
