import { CHANNEL_CLOSE, readReturn } from '../protocol/channel-messages.js';

/** After so many upgrades in a row that failed where HTTPS worked, something in between lets none through. */
export const REFUSALS_UNTIL_FALLBACK = 3;
/** An upgrade that was not answered counts as failed only where HTTPS then took no more than this share of its wait. */
const QUICK_SHARE = 0.5;
/** After so many channels in a row that were cut soon, something in between lets none live. */
export const SHORT_LIVES_UNTIL_FALLBACK = 5;
export const SHORT_LIFE_MS = 60_000;
/** The fallback to a connection for each heartbeat is tried anew after this time. */
export const FALLBACK_MS = 3_600_000;
/** Agents that lost their channels at the same instant come back over this time; each first attempt is jittered in it. */
export const LOSS_SPREAD_MS = 10_000;
/** Whoever was refused learns why within this time, by a request of its own. */
const REFUSED_SPREAD_MS = 2000;
const FIRST_REFUSAL_RETRY_MS = 5000;

/** What went wrong with channels lately; instants are of the boot clock. */
export interface ChannelTrouble {
  readonly refusals: number;
  readonly shortLives: number;
  /** None is opened before. */
  readonly notBeforeBoot: number;
  /** Why each heartbeat opens a connection of its own until then. */
  readonly fallback?: { readonly detail: string; readonly sinceBoot: number };
}

export const NO_TROUBLE: ChannelTrouble = { refusals: 0, shortLives: 0, notBeforeBoot: Number.NEGATIVE_INFINITY };

export function mayOpen({ notBeforeBoot }: ChannelTrouble, nowBoot: number): boolean {
  return nowBoot >= notBeforeBoot;
}

export interface RefusedUpgrade {
  readonly nowBoot: number;
  readonly detail: string;
  /** What the manager asked for, where it was the manager who refused: it lives, and wants no channel now. */
  readonly retryAfterMs?: number | undefined;
  /** 0 to 1. */
  readonly chance: number;
}

/** An upgrade failed on a connection to the manager that is itself good. */
export function afterRefusal(trouble: ChannelTrouble, refused: RefusedUpgrade): ChannelTrouble {
  const { nowBoot, retryAfterMs, chance } = refused;
  if (retryAfterMs !== undefined) return { ...trouble, notBeforeBoot: nowBoot + retryAfterMs * (1 + chance) };
  const refusals = trouble.refusals + 1;
  if (refusals >= REFUSALS_UNTIL_FALLBACK || trouble.fallback) return fallBack({ ...trouble, refusals }, refused);
  const delay = FIRST_REFUSAL_RETRY_MS * 2 ** (refusals - 1) * (0.5 + chance / 2);
  return { ...trouble, refusals, notBeforeBoot: nowBoot + delay };
}

/** An upgrade had no answer: whether something in between swallowed it is shown by HTTPS, until then it is tried again later. */
export function afterSilence(
  trouble: ChannelTrouble,
  { nowBoot, chance }: Pick<RefusedUpgrade, 'nowBoot' | 'chance'>,
): ChannelTrouble {
  return { ...trouble, notBeforeBoot: nowBoot + FIRST_REFUSAL_RETRY_MS * (1 + chance) };
}

/**
 * Whether a report by HTTPS, from its connection to its answer, was so quick that an upgrade was swallowed which waited for
 * nothing just before: a manager, or a machine, that is only slow is slow at both.
 */
export function isSwallowed({ waitedMs, httpsMs }: { readonly waitedMs: number; readonly httpsMs: number }): boolean {
  return httpsMs <= waitedMs * QUICK_SHARE;
}

function fallBack(
  trouble: ChannelTrouble,
  { nowBoot, detail }: Pick<RefusedUpgrade, 'nowBoot' | 'detail'>,
): ChannelTrouble {
  const sinceBoot = trouble.fallback?.sinceBoot ?? nowBoot;
  return { ...trouble, notBeforeBoot: nowBoot + FALLBACK_MS, fallback: { detail, sinceBoot } };
}

/** A channel was opened: it has yet to live. */
export function afterOpening(trouble: ChannelTrouble): ChannelTrouble {
  return { ...trouble, refusals: 0 };
}

/** A channel has lived for a while. */
export function afterLiving({ notBeforeBoot }: ChannelTrouble): ChannelTrouble {
  return { ...NO_TROUBLE, notBeforeBoot };
}

export interface LostChannel {
  readonly nowBoot: number;
  readonly livedMs: number;
  /** RFC 6455's; 1006 where the connection was just gone. */
  readonly code: number;
  readonly reason: string;
  readonly intervalMs: number;
  /** 0 to 1. */
  readonly chance: number;
}

export interface AfterLoss {
  readonly trouble: ChannelTrouble;
  /** When an exchange is due that opens the next one; undefined where the next heartbeat is soon enough. */
  readonly returnInMs: number | undefined;
}

/** What the end of a channel means: a manager that restarts says when to return, whoever was refused asks why. */
export function afterLoss(trouble: ChannelTrouble, lost: LostChannel): AfterLoss {
  const { nowBoot, code, reason, intervalMs, chance } = lost;
  if (code === CHANNEL_CLOSE.restarting) {
    const returnInMs = readReturn(reason) ?? LOSS_SPREAD_MS * chance;
    return { trouble: { ...trouble, notBeforeBoot: nowBoot + returnInMs }, returnInMs };
  }
  // Whoever else has this identity would be thrown out in turn.
  if (code === CHANNEL_CLOSE.replaced)
    return { trouble: { ...trouble, notBeforeBoot: nowBoot + intervalMs / 2 }, returnInMs: undefined };
  // This end left it, for another route as a rule: nothing is against channels.
  if (code === CHANNEL_CLOSE.done) return { trouble, returnInMs: soonInMs(lost) };
  if (code === CHANNEL_CLOSE.refused) return { trouble, returnInMs: REFUSED_SPREAD_MS * chance };
  const next = afterCut(trouble, lost);
  return { trouble: next, returnInMs: next.fallback ? undefined : soonInMs(lost) };
}

function soonInMs({ intervalMs, chance }: LostChannel): number {
  return Math.min(LOSS_SPREAD_MS, intervalMs / 2) * chance;
}

function afterCut(trouble: ChannelTrouble, { nowBoot, livedMs, code }: LostChannel): ChannelTrouble {
  if (livedMs >= SHORT_LIFE_MS) return { ...trouble, shortLives: 0 };
  const shortLives = trouble.shortLives + 1;
  if (shortLives < SHORT_LIVES_UNTIL_FALLBACK) return { ...trouble, shortLives };
  const detail = `${shortLives} channels in a row were cut within a minute (${code})`;
  return fallBack({ ...trouble, shortLives }, { nowBoot, detail });
}
