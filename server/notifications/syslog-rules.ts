import { FACILITIES, type Facility } from './channel.js';

export interface SyslogLine {
  readonly facility: Facility;
  /** 0 (emergency) to 7 (debug). */
  readonly severity: number;
  /** RFC 3339. */
  readonly timestamp: string;
  /** The manager's node. */
  readonly host: string;
  readonly messageId: string;
  readonly text: string;
}

const SYSLOG_SEVERITIES: Readonly<Record<string, number>> = { critical: 2, high: 3, medium: 4, low: 5, info: 6 };

export function syslogSeverity(severity: string): number {
  return SYSLOG_SEVERITIES[severity] ?? 6;
}

/** A message of RFC 5424, without structured data; the text is UTF-8 without a mark, which readers of CEF stumble over. */
export function formatSyslog({ facility, severity, timestamp, host, messageId, text }: SyslogLine): Buffer {
  const priority = FACILITIES.indexOf(facility) * 8 + severity;
  const header = [`<${priority}>1`, timestamp, word(host, 255), 'wardbeat', '-', word(messageId, 32), '-'].join(' ');
  return Buffer.from(`${header} ${text}`, 'utf8');
}

/** Printable ASCII without blanks, as the fields of the header are. */
function word(text: string, max: number): string {
  return text.replaceAll(/[^\x21-\x7e]/g, '').slice(0, max) || '-';
}

/** Octet counting (RFC 6587, section 3.4.1; RFC 5425, section 4.3). */
export function frame(message: Buffer): Buffer {
  return Buffer.concat([Buffer.from(`${message.length} `), message]);
}

/** What every receiver of RFC 5426 should take in one datagram. */
export const DATAGRAM_MAX = 2048;

/** Cut to a datagram's size, at no character's middle and before no escape's second half. */
export function datagramOf(message: Buffer): Buffer {
  if (message.length <= DATAGRAM_MAX) return message;
  let end = DATAGRAM_MAX;
  while (end > 0 && ((message[end] ?? 0) & 0xc0) === 0x80) end -= 1;
  const backslashes = /\\*$/.exec(message.subarray(0, end).toString('latin1'))?.[0].length ?? 0;
  return message.subarray(0, end - (backslashes % 2));
}
