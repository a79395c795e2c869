import { inertText } from './message-text-rules.js';

const LONGEST = 200;

/**
 * What a receiver said, fit to be shown: one line, bounded, and nothing at all of it when any of the secrets shows
 * through, in whole or in part, as it is or encoded.
 */
export function redactAnswer(answer: string, secrets: readonly string[]): string {
  const text = inertText(answer, LONGEST);
  const heard = flat(answer);
  const isTelling = secrets.some((secret) => partsOf(secret).some((part) => heard.includes(part)));
  return isTelling ? '[redacted]' : text;
}

function partsOf(secret: string): string[] {
  const forms = [secret, encodeURIComponent(secret), Buffer.from(secret).toString('hex'), ...base64Forms(secret)];
  return forms.flatMap((form) => windows(flat(form)));
}

/** Base64 of the secret behind nought, one or two other bytes: its middle is the same whatever stands around it. */
function base64Forms(secret: string): string[] {
  return [0, 1, 2].map((shift) => {
    const bytes = Buffer.concat([Buffer.alloc(shift), Buffer.from(secret)]);
    return bytes
      .toString('base64')
      .slice(shift === 0 ? 0 : shift + 1)
      .replace(/.?=*$/, '');
  });
}

/** A shorter part of a secret may stand anywhere by chance. */
const WINDOW = 8;

function windows(text: string): string[] {
  if (text.length <= WINDOW) return text === '' ? [] : [text];
  return Array.from({ length: text.length - WINDOW + 1 }, (_, start) => text.slice(start, start + WINDOW));
}

/** Blanks, quotes and case hide nothing. */
function flat(text: string): string {
  return text.toLowerCase().replaceAll(/[\s"'\\]/g, '');
}
