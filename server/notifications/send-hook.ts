import type { ChannelSecrets, HookSettings } from './channel.js';
import { openTcp, openTls, type SocketDeps } from './guarded-socket.js';
import { assertTaken, postJson, type PostAnswer } from './http-post.js';
import type { Message } from './message.js';
import type { SendContext } from './sender.js';
import { slackBody, slackRefusal } from './slack-rules.js';
import { signatureOf, webhookBody } from './webhook-rules.js';

interface Hook {
  readonly url: URL;
  readonly settings: HookSettings;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
}

const HTTPS_PORT = 443;

/** Posts a message as the Standard Webhooks specification has it. */
export async function sendWebhook(context: SendContext, settings: HookSettings, message: Message): Promise<void> {
  const { secrets, deps } = context;
  const { version, clock } = deps;
  const body = webhookBody(message);
  // The receiver compares it with its own clock.
  const timestampSeconds = Math.floor(clock.trustedTime() / 1000);
  const headers = {
    'user-agent': `Wardbeat/${version}`,
    'webhook-id': message.id,
    'webhook-timestamp': String(timestampSeconds),
    'webhook-signature': signatureOf(signingSecrets(secrets, clock.fleet()), {
      id: message.id,
      timestampSeconds,
      body,
    }),
  };
  const answer = await post(context, { url: urlOf(secrets), settings, headers, body });
  assertTaken(answer, clock.wall());
}

/** Posts a message to an incoming webhook of Slack or of what speaks its dialect. */
export async function sendSlack(context: SendContext, settings: HookSettings, message: Message): Promise<void> {
  const headers = { 'user-agent': `Wardbeat/${context.deps.version}` };
  const answer = await post(context, { url: urlOf(context.secrets), settings, headers, body: slackBody(message) });
  assertTaken(answer, context.deps.clock.wall(), slackRefusal(answer.text));
}

async function post({ deps, signal }: SendContext, { url, settings, headers, body }: Hook): Promise<PostAnswer> {
  const host = url.hostname.replace(/^\[(.*)\]$/, '$1');
  const port = url.port === '' ? HTTPS_PORT : Number(url.port);
  const plain = await openTcp(deps satisfies SocketDeps, { host, port }, signal);
  const socket = await openTls(plain, { host, caPem: settings.caPem }, signal);
  return postJson({ socket, url, headers, body, signal });
}

function urlOf({ url = '' }: ChannelSecrets): URL {
  return new URL(url);
}

function signingSecrets({ signingSecret, previousSigningSecret, previousUntil = 0 }: ChannelSecrets, now: number) {
  const secrets = [signingSecret, now < previousUntil ? previousSigningSecret : undefined];
  return secrets.filter((secret): secret is string => secret !== undefined);
}
