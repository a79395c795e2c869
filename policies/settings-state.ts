export type SettingsState = 'applied' | 'pending' | 'failed';

export interface SettingsStateFacts {
  /** The fingerprint of the effective settings. */
  readonly desired: string;
  /** The one of the last stored report; null before the first. */
  readonly applied: string | null;
  /** The fingerprint that the agent last reported it could not apply, or reverted. */
  readonly failed?: string | null;
}

/** Applied where the agent runs what is desired, failed where it said that it cannot, else pending. */
export function settingsState({ desired, applied, failed = null }: SettingsStateFacts): SettingsState {
  if (applied === desired) return 'applied';
  return failed === desired ? 'failed' : 'pending';
}

/**
 * Whether `settings-pending` is due. `pendingContacts` counts the consecutive stored reports that still named another
 * fingerprint although an answer before them carried the desired settings; with 2 allowed, the third one raises.
 */
export function isSettingsPendingDue(pendingContacts: number, contactsAllowed: number): boolean {
  return pendingContacts > contactsAllowed;
}

export interface PendingContactFacts extends SettingsStateFacts {
  /** The count before this report. */
  readonly pendingContacts: number;
  /** The fingerprint that the answer to the report before this one delivered; null where it delivered none. */
  readonly delivered: string | null;
  /** The agent has what is desired as a candidate, proving or reverted. */
  readonly isInHand?: boolean;
}

/** The count after a report: 0 when applied, in hand, or not delivered yet, else one more. */
export function nextPendingContacts(facts: PendingContactFacts): number {
  const { desired, applied, delivered, isInHand = false, pendingContacts } = facts;
  return applied === desired || isInHand || delivered !== desired ? 0 : pendingContacts + 1;
}
