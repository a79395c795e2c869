import type { Message, ShownAlert } from './message.js';
import { headline, inertText, subjectWords, typeWords } from './message-text-rules.js';

/** The payload of an incoming webhook as Slack takes it, and what speaks its dialect. */
export function slackBody(message: Message): string {
  const { kind, alerts, more } = message;
  if (kind === 'test') return JSON.stringify({ text: `*Wardbeat*: ${escapeMarks(headline(message))}` });
  const first = alerts.length === 1 && more === 0 ? '' : `*Wardbeat*: ${escapeMarks(headline(message))}\n`;
  const rest = more > 0 ? `\nand ${more} more that are not listed` : '';
  return JSON.stringify({ text: first + alerts.map((alert) => lineOf(kind, alert)).join('\n') + rest });
}

function lineOf(kind: string, alert: ShownAlert): string {
  const { severity, type, raisedAt, reason, policy, url } = alert;
  const link = url === null ? '' : ` <${escapeMarks(url)}|show>`;
  const below = policy === null ? '' : ` of ${code(policy.name)}`;
  const head = `*${severity.toUpperCase()}* ${escapeMarks(typeWords(type))}`;
  return `${head}: ${code(subjectWords(alert))}${below}, ${kind}, since ${raisedAt}, reason ${code(reason)}${link}`;
}

/** As code nothing is a mention, a link or markup: neither for Slack nor for what reads Markdown. */
function code(text: string): string {
  return `\`${escapeMarks(inertText(text).replaceAll('`', "'"))}\``;
}

function escapeMarks(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');
}

/** What Slack answers to a message that it refuses; anything else is not repeated. */
const REFUSALS: ReadonlySet<string> = new Set([
  'action_prohibited',
  'channel_is_archived',
  'channel_not_found',
  'invalid_payload',
  'invalid_token',
  'no_active_hooks',
  'no_service',
  'no_service_id',
  'no_team',
  'no_text',
  'posting_to_general_channel_denied',
  'team_disabled',
  'user_not_found',
]);

export function slackRefusal(answer: string): string | undefined {
  const word = answer.trim();
  return REFUSALS.has(word) ? word : undefined;
}
