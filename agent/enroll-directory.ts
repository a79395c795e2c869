import { hashEnrollmentSecret } from '../protocol/enrollment-token.js';
import {
  adoptNextIdentity,
  nextDirectory,
  prepareDirectory,
  readIdentity,
  type Identity,
  type IdentityFile,
} from './data-directory.js';
import { enroll, parseToken, type EnrollmentOptions } from './enroll.js';
import { decideEnrollment, type EnrollmentDecision } from './enrollment-rules.js';
import { removeIsolationFile } from './firewall/isolation-file.js';
import { expiryOf, ownerOf } from './identity-check.js';
import { AgentNotRunning, callAgent } from './local-socket/socket-client.js';
import { holdsProxies, type GivenProxies } from './proxies/proxy-files.js';
import { DurableStore, StoreInUse } from './spool/durable-store.js';
import { StateStore, type TimeAnchor } from './state-store.js';
import type { AgentStatus } from './status.js';
import { parseManagerUrl } from './transport/tls-connection.js';

export interface DirectoryEnrollmentOptions extends EnrollmentOptions {
  readonly bootId: string;
  /** The proxies that the operator gives now, where any. */
  readonly given?: GivenProxies | undefined;
}

const ENROLL_ANEW =
  'use another --dir, or remove the computer at its manager and let this agent run once, so that it is told: then it enrolls anew';
const CHANGE_PROXIES = 'with other proxies, and nothing was changed: "wardbeat-agent proxy set" changes them';

/** The directory has an identity that works, and not all of it is what is asked for. */
export class AlreadyEnrolled extends Error {
  constructor({ managerUrls, name, computerId }: Identity, what: string) {
    super(`already enrolled at ${managerUrls[0] ?? '-'} as ${name} (${computerId})${what}`);
    this.name = 'AlreadyEnrolled';
  }
}

const LOCAL_CALL_MS = 10_000;

/**
 * Enrolls a directory under its lock. The same token, manager and proxies again change nothing; an identity that was refused for
 * good or has expired is replaced, and the events that wait in the spool stay; anything else is `AlreadyEnrolled`. Throws
 * what `enroll` throws, `UnusableFile` and `StoreInUse`, too.
 */
export async function enrollDirectory(options: DirectoryEnrollmentOptions): Promise<IdentityFile> {
  const { directory } = options;
  parseToken(options.token);
  prepareDirectory(directory);
  const store = await openUnlessRunning(options);
  if (!store) return answerWhileRunning(options);
  try {
    adoptNextIdentity(directory);
    const identity = readIdentity(directory);
    if (identity) return await enrollAgain(identity, store, options);
    await StateStore.disown(store);
    removeIsolationFile(directory);
    return await enroll(options);
  } finally {
    await store.close();
  }
}

async function openUnlessRunning({ directory, clock }: EnrollmentOptions): Promise<DurableStore | undefined> {
  try {
    return (await DurableStore.open(directory.store, clock)).store;
  } catch (error) {
    if (error instanceof StoreInUse) return undefined;
    throw error;
  }
}

async function enrollAgain(
  identity: Identity,
  store: DurableStore,
  options: DirectoryEnrollmentOptions,
): Promise<IdentityFile> {
  const { directory, clock } = options;
  const state = await StateStore.open(store, { owner: ownerOf(identity), firstSequence: 0 });
  const { refusal, anchor } = state.progress;
  const now = trustedTime(anchor, options) ?? clock.wall();
  const decision = decide(identity, { options, refusal: refusal?.code, now });
  if (decision !== 'anew') return knownOrThrow(decision, identity, options);
  const fresh = await enroll({ ...options, directory: nextDirectory(directory) });
  adoptNextIdentity(directory);
  return fresh;
}

/** An instant that the manager vouched for since this boot. */
function trustedTime(anchor: TimeAnchor | undefined, { clock, bootId }: DirectoryEnrollmentOptions) {
  return anchor?.bootId === bootId ? anchor.managerWall + clock.boot() - anchor.boot : undefined;
}

interface Deciding {
  readonly options: EnrollmentOptions;
  readonly refusal: string | undefined;
  readonly now: number;
}

function decide(identity: Identity, { options, refusal, now }: Deciding): EnrollmentDecision {
  const { secret } = parseToken(options.token);
  return decideEnrollment({
    enrolledWith: identity.enrolledWith,
    managerUrls: identity.managerUrls.map((url) => parseManagerUrl(url)?.url ?? url),
    asked: { managerUrl: options.manager.url, tokenDigest: hashEnrollmentSecret(secret).toString('hex') },
    refusal,
    isExpired: expiryOf(identity) < now,
  });
}

/** The running agent keeps its identity: what asks for another is told to stop it first. */
async function answerWhileRunning(options: DirectoryEnrollmentOptions): Promise<IdentityFile> {
  const { directory, clock } = options;
  const identity = readIdentity(directory);
  if (!identity) throw new StoreInUse(directory.path);
  const decision = decide(identity, { options, refusal: await askRefusal(options), now: clock.wall() });
  if (decision === 'anew') throw new StoreInUse(directory.path);
  return knownOrThrow(decision, identity, options);
}

/** What is there, where it is all that was asked for. */
function knownOrThrow(
  decision: 'known' | 'other',
  identity: Identity,
  { directory, given }: DirectoryEnrollmentOptions,
): Identity {
  if (decision === 'other') throw new AlreadyEnrolled(identity, `; ${ENROLL_ANEW}`);
  if (given && !holdsProxies(directory, given)) throw new AlreadyEnrolled(identity, ` ${CHANGE_PROXIES}`);
  return identity;
}

async function askRefusal({ directory, clock }: EnrollmentOptions): Promise<string | undefined> {
  const call = { folder: directory.path, name: directory.socketName, clock, milliseconds: LOCAL_CALL_MS };
  try {
    const { state, lastError } = (await callAgent(call, { op: 'status' })) as AgentStatus;
    return state === 'refused' ? lastError?.code : undefined;
  } catch (error) {
    if (error instanceof AgentNotRunning) return undefined;
    throw error;
  }
}
