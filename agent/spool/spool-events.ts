import { toRfc3339 } from '../../lib/clock.js';
import type { IncomingEvent } from './event-intake.js';
import type { Finding, Mended } from './findings.js';
import type { Gap } from './spool-lanes.js';
import type { Unreadable } from './log-damage.js';

/** `spool-gap` events count what later records or a running spool show to be lost; `lost` is all of a database begun anew. */
export function mendedEvent({ reason, setAside }: Mended, lost?: readonly Gap[]): IncomingEvent {
  if (setAside === undefined)
    return {
      kind: 'spool-repaired',
      severity: 'high',
      message: 'The spool was damaged and repaired; what is known to be lost is counted',
      data: { reason },
    };
  return {
    kind: 'spool-set-aside',
    severity: 'high',
    message: 'The spool could not be read and was set aside',
    data: { reason, path: setAside, ...(lost ? { lost: lost.map((gap) => ({ ...gap })) } : {}) },
  };
}

/** In the order of telling. */
export function findingEvents({ log, mended }: Finding): IncomingEvent[] {
  return [
    ...(log?.damaged ? [damagedEvent(log.damaged)] : []),
    ...(log?.torn ? [tornEvent(log.torn)] : []),
    ...(mended ? [mendedEvent(mended)] : []),
  ];
}

function damagedEvent({ bytes, operations }: Unreadable): IncomingEvent {
  return {
    kind: 'spool-damaged',
    severity: 'high',
    message: 'A part of the spool is damaged and is skipped: events that were accepted may be lost with it',
    data: { bytes, operations },
  };
}

function tornEvent({ bytes, operations }: Unreadable): IncomingEvent {
  return {
    kind: 'spool-torn',
    severity: 'low',
    message: 'The end of the spool cannot be read and is skipped: the last write was cut off, or is damaged',
    data: { bytes, operations },
  };
}

export interface SpoolOutage {
  readonly reason: string;
  /** Wall clock, Unix milliseconds. */
  readonly since: number;
  /** Events that were not accepted meanwhile, by lane. */
  readonly refused: Readonly<Record<string, number>>;
}

export function recoveredEvent({ reason, since, refused }: SpoolOutage): IncomingEvent {
  return {
    kind: 'spool-recovered',
    severity: 'medium',
    message: 'The spool can be written again',
    data: { reason, since: toRfc3339(since), refused },
  };
}
