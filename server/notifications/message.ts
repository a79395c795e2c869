import { NOTICE_KINDS } from './notice.js';

/** What a message tells of its alerts; `reminder`: they are still open and nobody has acknowledged them. */
export const MESSAGE_KINDS = [...NOTICE_KINDS, 'reminder', 'test'] as const;
export type MessageKind = (typeof MESSAGE_KINDS)[number];

/** An alert as a message shows it; instants are RFC 3339. */
export interface ShownAlert {
  readonly id: string;
  readonly type: string;
  readonly severity: string;
  readonly state: string;
  readonly computer: { readonly id: string; readonly name: string } | null;
  readonly policy: { readonly id: string; readonly name: string } | null;
  readonly subject: string;
  readonly raisedAt: string;
  readonly closedAt: string | null;
  readonly reason: string;
  readonly occurrences: number;
  readonly comment: string | null;
  readonly assignee: string | null;
  readonly detail: Readonly<Record<string, unknown>>;
  /** In the console; null when its origin is not configured. */
  readonly url: string | null;
}

/** One message to one channel. */
export interface Message {
  /** The delivery's: the same at every attempt. */
  readonly id: string;
  readonly kind: MessageKind;
  /** When it was decided to tell it, RFC 3339. */
  readonly timestamp: string;
  readonly alerts: readonly ShownAlert[];
  /** Alerts that are told of but not listed. */
  readonly more: number;
}
