import type { SettingValues } from './setting-values.js';

export type CommunicationDirection = SettingValues['communicationDirection'];

/** Settings that could cut an agent off, as its report tells of them. */
export interface Candidate {
  readonly fingerprint: string;
  readonly direction: CommunicationDirection;
  readonly state: 'proving' | 'reverted';
}

/** Who opened the connection that a report came over. */
export type Dialler = 'agent' | 'manager';

/**
 * What a report's candidate is to the desired settings: `proving` and `reverted` are theirs, `other` is a candidate of
 * settings that are not desired any more, or that are in force already.
 */
export type CandidateStanding = 'none' | 'other' | 'proving' | 'reverted';

export interface CandidateFacts {
  readonly desired: string;
  readonly applied: string | null;
  readonly candidate: Candidate | undefined;
}

export function candidateStanding({ desired, applied, candidate }: CandidateFacts): CandidateStanding {
  if (!candidate) return 'none';
  return applied !== desired && candidate.fingerprint === desired ? candidate.state : 'other';
}

/** Whether the agent knows what is desired as its candidate: it need not be sent again, and does not count as pending. */
export function isInHand(standing: CandidateStanding): boolean {
  return standing === 'proving' || standing === 'reverted';
}

/**
 * Whether an answer carries the desired settings: where the agent neither runs on them nor has them in hand, and where
 * it is proving or has reverted others, which it drops then.
 */
export function isSettingsSent(facts: CandidateFacts): boolean {
  const standing = candidateStanding(facts);
  const { desired, applied, candidate } = facts;
  return applied === desired ? candidate !== undefined && candidate.fingerprint !== desired : !isInHand(standing);
}

/** Who has to open a connection, so that a direction is proven to work. */
export function proverOf(direction: CommunicationDirection): Dialler {
  return direction === 'managerInitiated' ? 'manager' : 'agent';
}

/**
 * The fingerprint to commit in the answer to a stored report; null where there is nothing to commit. The agent alone
 * knows which of its listeners a dial reached, and by whose leave: it takes the commit only where that was the new one.
 */
export function committedBy(facts: CandidateFacts, dialledBy: Dialler): string | null {
  const { candidate } = facts;
  if (!candidate || candidateStanding(facts) !== 'proving') return null;
  return proverOf(candidate.direction) === dialledBy ? candidate.fingerprint : null;
}

/**
 * The fingerprint to try again before its time; null where there is nothing to try. `isReaddressed`: the address to dial
 * was changed since the candidate was reverted, so a dial that did not reach the agent may reach it now.
 */
export function retriedBy(facts: CandidateFacts, isReaddressed: boolean): string | null {
  const { candidate } = facts;
  if (!candidate || !isReaddressed || candidateStanding(facts) !== 'reverted') return null;
  return proverOf(candidate.direction) === 'manager' ? candidate.fingerprint : null;
}

/** Whether it is the manager who has to dial, so that the candidate is proven. */
export function awaitsDial(candidate: Candidate): boolean {
  return candidate.state === 'proving' && proverOf(candidate.direction) === 'manager';
}
