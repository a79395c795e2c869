import type { Log } from '../../lib/log.js';
import type { Sql } from '../database/sql.js';
import type { PolicySettingsCache } from '../policies/cached-settings.js';
import { createPolicyWatch } from '../policies/policy-watch.js';
import type { ComputerSettings } from '../policies/settings-cache.js';
import { settingsSubjectOf } from '../statuses/liveness-row.js';
import { findOutdatedHeld, readHeld, type HeldKey, type HeldRow, type HolderKey } from './channel-repository.js';
import { judgeStanding } from './channel-rules.js';
import { rhythmOf } from './channel-settings.js';
import type { HeldChannels } from './held-channels.js';
import type { WakeQueue } from './wake-queue.js';

export interface ChannelLookDeps {
  readonly sql: Sql;
  readonly log: Log;
  readonly settings: PolicySettingsCache;
  readonly held: HeldChannels;
  readonly queue: Pick<WakeQueue, 'add'>;
  readonly key: () => HolderKey;
}

/** Looks at the computers that hold channels: who is behind is woken, who does not count any more is cut. */
export interface ChannelLook {
  /** At these, where they hold a channel here. Never rejects. */
  at(computerIds: readonly string[]): Promise<void>;
  /** At those whose policies changed since the last call. Never rejects. */
  atEdits(): Promise<void>;
  /** At the next of all, so that everyone has his turn within a minute when it is called every `POLL_MS`. Never rejects. */
  atNext(): Promise<void>;
}

export const POLL_MS = 5000;
const PER_PAGE = 1000;
const POLLS_PER_ROUND = 12;

export function createChannelLook(deps: ChannelLookDeps): ChannelLook {
  const { sql, log, settings, held, queue } = deps;
  const policies = createPolicyWatch(settings);
  let left: string[] = [];
  const guarded = async (look: () => Promise<void>): Promise<void> => {
    try {
      await look();
    } catch (error) {
      log.debug({ err: error }, 'Computers that hold a channel cannot be looked at');
    }
  };
  const at = async (computerIds: readonly string[]): Promise<void> => {
    const keys = held.open().length === 0 ? [] : keysOf(held, computerIds);
    for (let from = 0; from < keys.length; from += PER_PAGE) await lookAt(deps, keys.slice(from, from + PER_PAGE));
  };
  return {
    at: (computerIds) => guarded(() => at(computerIds)),
    atEdits: () =>
      guarded(async () => {
        const changed = policies.changed();
        if (changed.ids.length > 0 && held.counts.open() > 0)
          queue.add(await findOutdatedHeld(sql, deps.key(), changed), 'settings');
        policies.accept();
      }),
    atNext: () =>
      guarded(async () => {
        if (left.length === 0) left = held.open().map(({ computerId }) => computerId);
        const page = Math.max(PER_PAGE, Math.ceil(held.counts.open() / POLLS_PER_ROUND));
        await at(left.splice(0, page));
      }),
  };
}

function keysOf(held: HeldChannels, computerIds: readonly string[]): HeldKey[] {
  return computerIds.flatMap((computerId) => {
    const serial = held.serialOf(computerId);
    return serial === undefined ? [] : [{ computerId, serial }];
  });
}

async function lookAt(deps: ChannelLookDeps, keys: readonly HeldKey[]): Promise<void> {
  const rows = new Map((await readHeld(deps.sql, keys)).map((row) => [row.computer_id, row]));
  for (const { computerId } of keys) {
    const row = rows.get(computerId);
    if (row) lookAtRow(deps, row);
    else deps.held.cut(computerId, 'computer-removed');
  }
}

function lookAtRow({ settings, held, queue }: ChannelLookDeps, row: HeldRow): void {
  const { computer_id: computerId } = row;
  const known = settingsOrNone(row, settings);
  // A policy that was deleted since: the next look finds the computer elsewhere.
  if (!known) return;
  held.follow(computerId, rhythmOf(known));
  const next = judgeStanding(standingOf(row, known));
  if (next === 'cut') held.cut(computerId, 'computer-revoked');
  if (next === 'wake') queue.add([computerId], 'settings');
}

function standingOf(row: HeldRow, { fingerprint }: ComputerSettings) {
  const { is_revoked: isRevoked, applied, delivered, candidate } = row;
  return { isRevoked, desired: fingerprint, known: [applied, delivered, candidate] };
}

function settingsOrNone(row: HeldRow, cache: PolicySettingsCache): ComputerSettings | undefined {
  try {
    return cache.settingsOf(settingsSubjectOf(row));
  } catch {
    return undefined;
  }
}
