import { createHmac, timingSafeEqual } from 'node:crypto';

/** Computes identity token n of a computer: an HMAC that only a manager of this fleet and restore epoch can make. */
export interface IdentityTokens {
  tokenOf(computerId: string, epoch: string, n: number): string;
}

export function createIdentityTokens(fleetSecret: Buffer): IdentityTokens {
  return {
    tokenOf: (computerId, epoch, n) =>
      createHmac('sha256', fleetSecret).update(`${computerId}\n${epoch}\n${n}`).digest('base64url'),
  };
}

/** How a report's token stands to the stored n; only counted for now (design.md §8, Clones). */
export type TokenOutcome = 'missing' | 'current' | 'other';

export function judgeToken(presented: string | undefined, current: string): TokenOutcome {
  if (presented === undefined) return 'missing';
  const [given, expected] = [Buffer.from(presented), Buffer.from(current)];
  return given.length === expected.length && timingSafeEqual(given, expected) ? 'current' : 'other';
}
