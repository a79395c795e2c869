import { createTransport } from 'nodemailer';
import type { ChannelSecrets, EmailSettings } from './channel.js';
import { DeliveryFailure, toDeliveryFailure } from './delivery-failure.js';
import { openTcp, openTls, tlsOptions } from './guarded-socket.js';
import { headline, plainText } from './message-text-rules.js';
import type { Message } from './message.js';
import { redactAnswer } from './redact-rules.js';
import type { SendContext } from './sender.js';

const QUIET_MS = 15_000;

/**
 * Hands a message to a mail server. Of its answers only the last one is told, and nothing of it that is secret. Resolves
 * with a failure where it refused some of the recipients, but not all.
 */
export async function sendEmail(
  context: SendContext,
  settings: EmailSettings,
  message: Message,
): Promise<DeliveryFailure | undefined> {
  const { deps, signal, secrets } = context;
  const { host, port, security, caPem } = settings;
  const plain = await openTcp(deps, { host, port }, signal);
  const connection = security === 'tls' ? await openTls(plain, { host, caPem }, signal) : plain;
  const transport = createTransport({
    connection,
    host,
    port,
    // The handshake of `tls` is done; that of `starttls` is nodemailer's, and nothing is sent without it.
    secure: security === 'tls',
    secured: security === 'tls',
    requireTLS: security === 'starttls',
    ignoreTLS: security === 'none',
    tls: tlsOptions({ host, caPem }),
    name: deps.node,
    ...authOf(settings, secrets),
    connectionTimeout: QUIET_MS,
    greetingTimeout: QUIET_MS,
    socketTimeout: QUIET_MS,
    disableFileAccess: true,
    disableUrlAccess: true,
    logger: false,
  });
  try {
    const sent: SentMail = await transport.sendMail({ ...mailOf(settings, message), signal });
    return refusedOf(sent, secrets);
  } catch (error) {
    throw signal.aborted ? toDeliveryFailure(signal.reason) : mailFailure(error, secrets);
  } finally {
    transport.close();
    connection.destroy();
  }
}

/** Nothing is sent to a server that does not take the password. */
function authOf({ user }: EmailSettings, { password }: ChannelSecrets) {
  if (user === null || password === undefined) return {};
  return { auth: { user, pass: password }, forceAuth: true };
}

function mailOf({ from, to }: EmailSettings, message: Message) {
  const domain = from.slice(from.lastIndexOf('@') + 1);
  return {
    from: { name: 'Wardbeat', address: from },
    to: to.map((address) => ({ name: '', address })),
    subject: `[Wardbeat] ${headline(message)}`,
    text: plainText(message),
    date: new Date(message.timestamp),
    // The same at every attempt: a mailbox that has it shows it once.
    messageId: `<${message.id}@${domain}>`,
    headers: { 'Auto-Submitted': 'auto-generated' },
  };
}

interface SentMail {
  readonly rejectedErrors?: readonly unknown[] | undefined;
}

const REFUSED_NAMED_MAX = 5;

function refusedOf({ rejectedErrors = [] }: SentMail, { password }: ChannelSecrets): DeliveryFailure | undefined {
  if (rejectedErrors.length === 0) return undefined;
  const secrets = password === undefined ? [] : [password];
  const named = rejectedErrors.slice(0, REFUSED_NAMED_MAX).map((error) => {
    const { recipient, response } = error as { readonly recipient?: unknown; readonly response?: unknown };
    return `${String(recipient)}: ${redactAnswer(String(response ?? ''), secrets)}`;
  });
  const more = rejectedErrors.length - named.length;
  const list = [...named, ...(more > 0 ? [`and ${more} more`] : [])].join('; ');
  return new DeliveryFailure('recipients-refused', `the mail server refused ${list}`.slice(0, REFUSED_TEXT_MAX));
}

const REFUSED_TEXT_MAX = 900;

interface MailError {
  readonly code?: unknown;
  readonly responseCode?: unknown;
  readonly response?: unknown;
  readonly command?: unknown;
}

function mailFailure(error: unknown, { password }: ChannelSecrets): DeliveryFailure {
  const { code, responseCode, response } = error as MailError;
  const number = typeof responseCode === 'number' ? ` (${responseCode})` : '';
  if (code === 'EAUTH')
    return new DeliveryFailure('credentials-refused', `the mail server refused the sign-in${number}`);
  if (code === 'ETLS') return new DeliveryFailure('tls', `TLS could not be established with the mail server${number}`);
  if (typeof response === 'string' && number !== '') {
    const said = redactAnswer(response, password === undefined ? [] : [password]);
    return new DeliveryFailure('answer', `the mail server answered: ${said}`);
  }
  const known = toDeliveryFailure(error);
  if (known.code !== 'unknown') return known;
  return BY_CODE[String(code)]?.() ?? known;
}

const BY_CODE: Readonly<Record<string, () => DeliveryFailure>> = {
  ETIMEDOUT: () => new DeliveryFailure('timeout', 'the mail server did not answer in time'),
  ECONNECTION: () => new DeliveryFailure('reset', 'the mail server closed the connection'),
  ESOCKET: () => new DeliveryFailure('reset', 'the connection to the mail server broke'),
  EPROTOCOL: () => new DeliveryFailure('protocol', 'the mail server does not speak SMTP'),
};
