/** How the rest of the manager asks for a dial before its time. */
export interface DialRequests {
  /**
   * Asks that the listeners of these computers be dialled at once: to prove a candidate, to bring settings or commands. A hint:
   * it never fails, may be repeated, and what is lost is found by the dialler's own schedule.
   */
  request(computerIds: readonly string[], why: 'candidate' | 'settings' | 'commands'): void;
}

/** What the last dial came to where it brought a report; anything else is the code of a failure. */
export const DIAL_ANSWERED = 'answered';

/** Where nothing dials. */
export const NO_DIAL_REQUESTS: DialRequests = { request: () => undefined };

/** Hands requests on to whatever dials here, once that exists. */
export interface DialRequestRelay extends DialRequests {
  connect(dials: DialRequests): void;
}

export function createDialRequestRelay(): DialRequestRelay {
  let target = NO_DIAL_REQUESTS;
  return {
    connect: (dials) => void (target = dials),
    request: (computerIds, why) => target.request(computerIds, why),
  };
}
