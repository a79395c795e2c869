import type { Lifecycle } from '../../lib/lifecycle.js';
import {
  computersOfNotice,
  createNotificationWatch,
  notifyOfComputers,
  type ListeningClient,
  type NotificationWatchDeps,
} from '../database/notification-watch.js';
import type { Sql } from '../database/sql.js';

/** The channel on which processes ask each other to look at computers. */
const CHANNEL = 'wardbeat_dials';

export type DialNotificationClient = ListeningClient;

/** Tells the processes that dial these computers; one that does not hear it finds out by its poll. */
export function notifyDials(sql: Sql, computerIds: readonly string[]): Promise<void> {
  return notifyOfComputers(sql, { channel: CHANNEL }, computerIds);
}

export interface DialWatchDeps extends Omit<NotificationWatchDeps, 'channel' | 'onMessage'> {
  readonly onRequest: (computerIds: string[]) => void;
}

/** Hears the requests of other processes. */
export function createDialWatch({ onRequest, ...deps }: DialWatchDeps): Lifecycle {
  return createNotificationWatch({
    ...deps,
    channel: CHANNEL,
    onMessage: (payload) => onRequest(computersOfNotice(payload)),
  });
}
