import { toRfc3339 } from '../../lib/clock.js';
import type { Mended } from './durable-store.js';
import type { IncomingEvent } from './event-intake.js';
import type { Gap } from './spool-lanes.js';
import type { TornTail } from './torn-tail.js';

/** Where records were lost by it, `spool-gap` events count them; `lost` are those of a database that was begun anew. */
export function mendedEvent({ reason, setAside }: Mended, lost?: readonly Gap[]): IncomingEvent {
  if (setAside === undefined)
    return {
      kind: 'spool-repaired',
      severity: 'high',
      message: 'The spool was damaged and repaired; what was lost is counted',
      data: { reason },
    };
  return {
    kind: 'spool-set-aside',
    severity: 'high',
    message: 'The spool could not be read and was set aside',
    data: { reason, path: setAside, ...(lost ? { lost: lost.map((gap) => ({ ...gap })) } : {}) },
  };
}

export function tornEvent({ bytes, operations }: TornTail): IncomingEvent {
  return {
    kind: 'spool-torn',
    severity: 'low',
    message: 'The end of the spool was cut off and is skipped: a write that nobody was told of as stored',
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
