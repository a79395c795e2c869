import type { Message, MessageKind, ShownAlert } from './message.js';
import { headline, inertText, subjectWords, typeWords } from './message-text-rules.js';

/** CEF severities from 0 to 10, as the levels of Deep Security map to them. */
const SEVERITIES: Readonly<Record<string, number>> = { info: 2, low: 3, medium: 6, high: 8, critical: 10 };
/** An alert that ends or was seen alarms nobody, however bad it was. */
const ALARMING: ReadonlySet<MessageKind> = new Set(['raised', 'flapping', 'reminder']);

/** How bad an alert is in a message of this kind. */
export function severityIn(kind: MessageKind, severity: string): string {
  return ALARMING.has(kind) ? severity : 'info';
}

export function cefSeverity(kind: MessageKind, severity: string): number {
  return SEVERITIES[severityIn(kind, severity)] ?? 2;
}

/** Of alerts that are not listed nobody looks up how bad they are. */
export const UNLISTED_SEVERITY = 'medium';

/** One event in the Common Event Format, version 0, on one line. */
export function cefOfAlert(message: Message, alert: ShownAlert, version: string): string {
  const { kind, timestamp } = message;
  const { type, computer, policy, raisedAt, closedAt, reason, occurrences, id, url, severity } = alert;
  return cefLine({
    version,
    signatureId: type,
    name: typeWords(type),
    severity: cefSeverity(kind, severity),
    extension: {
      rt: millisecondsOf(timestamp),
      act: kind,
      cat: type,
      dvchost: computer === null ? undefined : subjectWords(alert),
      deviceExternalId: computer?.id,
      externalId: id,
      start: millisecondsOf(raisedAt),
      end: closedAt === null ? undefined : millisecondsOf(closedAt),
      reason: inertText(reason),
      cnt: String(occurrences),
      cs1Label: policy === null ? undefined : 'Policy',
      cs1: policy === null ? undefined : inertText(policy.name),
      cs2Label: 'Severity',
      cs2: severity,
      request: url ?? undefined,
      msg: headline({ kind, alerts: [alert], more: 0 }),
    },
  });
}

/** Tells of what is not listed. */
export function cefOfRest(message: Message, version: string): string {
  const { kind, timestamp, more } = message;
  const extension = { rt: millisecondsOf(timestamp), act: kind, cnt: String(more), msg: `${more} more alerts ${kind}` };
  const severity = cefSeverity(kind, UNLISTED_SEVERITY);
  return cefLine({ version, signatureId: 'alerts-not-listed', name: 'Alerts not listed', severity, extension });
}

export function cefOfTest({ timestamp }: Message, version: string): string {
  const extension = { rt: millisecondsOf(timestamp), act: 'test', msg: 'Test of a notification channel' };
  return cefLine({ version, signatureId: 'test', name: 'Test', severity: 2, extension });
}

interface CefEvent {
  readonly version: string;
  readonly signatureId: string;
  readonly name: string;
  readonly severity: number;
  readonly extension: Readonly<Record<string, string | undefined>>;
}

function cefLine({ version, signatureId, name, severity, extension }: CefEvent): string {
  const header = ['Wardbeat', 'Wardbeat Manager', version, signatureId, name, String(severity)].map(escapeHeader);
  const pairs = Object.entries(extension).flatMap(([key, value]) =>
    value === undefined ? [] : [`${key}=${escapeExtension(value)}`],
  );
  return `CEF:0|${header.join('|')}|${pairs.join(' ')}`;
}

/** In the header `|` and `\` are escaped, in the extension `=` and `\`; line ends are never let through. */
function escapeHeader(text: string): string {
  return inertText(text).replaceAll(/[\\|]/g, String.raw`\$&`);
}

function escapeExtension(text: string): string {
  return inertText(text, 1024).replaceAll(/[\\=]/g, String.raw`\$&`);
}

function millisecondsOf(rfc3339: string): string {
  return String(Date.parse(rfc3339));
}
