import { createHmac } from 'node:crypto';
import type { Message } from './message.js';

const PREFIX = 'whsec_';
export const SIGNING_SECRET_BYTES = 32;

/** A secret of the Standard Webhooks specification. */
export function toSigningSecret(bytes: Buffer): string {
  return PREFIX + bytes.toString('base64');
}

export interface Signing {
  readonly id: string;
  readonly timestampSeconds: number;
  readonly body: string;
}

/** `webhook-signature`: one `v1,` signature per secret (Standard Webhooks, symmetric: HMAC-SHA256 of id.timestamp.body). */
export function signatureOf(secrets: readonly string[], { id, timestampSeconds, body }: Signing): string {
  const signed = `${id}.${timestampSeconds}.${body}`;
  return secrets
    .map((secret) => {
      const key = Buffer.from(secret.slice(PREFIX.length), 'base64');
      return `v1,${createHmac('sha256', key).update(signed, 'utf8').digest('base64')}`;
    })
    .join(' ');
}

/** The body of a webhook; strings of agents stay as they are, for JSON quotes them. */
export function webhookBody({ kind, timestamp, alerts, more }: Message): string {
  return JSON.stringify({ type: `alert.${kind}`, timestamp, data: { alerts, more } });
}
