import { SEVERITIES } from '../../policies/status-model.js';
import { cleanName } from '../../lib/shown-name.js';
import type { Message, MessageKind, ShownAlert } from './message.js';

const LONGEST_NAME = 128;
const LONGEST_TEXT = 300;

/** A text of a stranger on one line, with every character visible. */
export function inertText(text: string, max: number = LONGEST_TEXT): string {
  // ANSI sequences lose their escape; what is left of them is harmless text.
  return cleanName(text.replaceAll(/\s+/g, ' '), { max, fallback: '-' });
}

/** `computer-offline` as people say it. */
export function typeWords(type: string): string {
  const words = inertText(type.replaceAll('-', ' '), LONGEST_NAME);
  return words.charAt(0).toUpperCase() + words.slice(1);
}

/** Who the alert is about, in a few words. */
export function subjectWords({ computer, subject }: Pick<ShownAlert, 'computer' | 'subject'>): string {
  return inertText(computer?.name ?? subject, LONGEST_NAME);
}

const VERBS: Readonly<Record<MessageKind, string>> = {
  raised: 'raised',
  resolved: 'resolved',
  dismissed: 'dismissed',
  acknowledged: 'acknowledged',
  flapping: 'coming and going',
  reminder: 'still open',
  test: 'of a test',
};

/** The first line of a message: what happened, to whom, how bad. */
export function headline({ kind, alerts, more }: Pick<Message, 'kind' | 'alerts' | 'more'>): string {
  const [first] = alerts;
  if (kind === 'test') return 'Test of a notification channel';
  if (first && alerts.length === 1 && more === 0)
    return `${first.severity.toUpperCase()} ${typeWords(first.type)}: ${subjectWords(first)} (${VERBS[kind]})`;
  const worst = [...SEVERITIES].reverse().find((severity) => alerts.some((alert) => alert.severity === severity));
  return `${alerts.length + more} alerts ${VERBS[kind]}${worst === undefined ? '' : `, the worst is ${worst}`}`;
}

/** The body of a message in plain text. */
export function plainText(message: Message): string {
  const { timestamp, alerts, more } = message;
  const lines = [`${headline(message)}`, `${timestamp}`, '', ...alerts.flatMap(linesOf)];
  if (more > 0) lines.push(`and ${more} more that are not listed`, '');
  return `${lines.join('\n').trimEnd()}\n`;
}

function linesOf(alert: ShownAlert): string[] {
  const { severity, policy, raisedAt, closedAt, reason, occurrences, comment, assignee, url } = alert;
  const facts = [
    `since ${raisedAt}`,
    ...(closedAt === null ? [] : [`until ${closedAt}`]),
    `reason ${inertText(reason)}`,
    ...(occurrences > 1 ? [`${occurrences} times`] : []),
    ...(policy === null ? [] : [`policy ${inertText(policy.name)}`]),
    ...(assignee === null ? [] : [`assigned to ${inertText(assignee)}`]),
  ];
  return [
    `${severity.toUpperCase()} ${typeWords(alert.type)}: ${subjectWords(alert)}`,
    `  ${facts.join(', ')}`,
    ...(comment === null || comment === '' ? [] : [`  "${inertText(comment)}"`]),
    ...(url === null ? [] : [`  ${url}`]),
    '',
  ];
}
