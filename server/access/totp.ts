import { createHmac, timingSafeEqual } from 'node:crypto';

/** RFC 6238 as every authenticator takes it: HMAC-SHA-1, 30 seconds, 6 digits. */
export const TOTP = { stepSeconds: 30, digits: 6, secretBytes: 20 } as const;
/** RFC 6238 §5.2: one step to either side, for clocks and for who types slowly. */
const STEPS_ASIDE = 1;
const BASE32 = 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567';

/** The time step that an instant lies in. */
export function totpStep(wallMs: number): number {
  return Math.floor(wallMs / 1000 / TOTP.stepSeconds);
}

/** The code of a step (RFC 4226 §5.3). */
export function totpCode(secret: Buffer, step: number): string {
  const counter = Buffer.alloc(8);
  counter.writeBigUInt64BE(BigInt(step));
  const mac = createHmac('sha1', secret).update(counter).digest();
  const offset = (mac.at(-1) ?? 0) & 0x0f;
  const number = mac.readUInt32BE(offset) & 0x7fffffff;
  return String(number % 10 ** TOTP.digits).padStart(TOTP.digits, '0');
}

export interface CodeCheck {
  readonly secret: Buffer;
  readonly code: string;
  readonly wallMs: number;
  /** Of the last code that was taken; it and those before it are refused. */
  readonly lastStep: number | null;
}

/** The step whose code it is, among this one and its neighbours that are not used up; undefined for none. */
export function matchingStep({ secret, code, wallMs, lastStep }: CodeCheck): number | undefined {
  const now = totpStep(wallMs);
  let matching: number | undefined;
  // All are computed, whichever fits: the time tells nothing.
  for (let step = Math.max(0, now - STEPS_ASIDE); step <= now + STEPS_ASIDE; step += 1)
    if (isSame(totpCode(secret, step), code) && step > (lastStep ?? -1)) matching ??= step;
  return matching;
}

function isSame(expected: string, given: string): boolean {
  const [a, b] = [Buffer.from(expected), Buffer.from(given)];
  return a.length === b.length && timingSafeEqual(a, b);
}

/** RFC 4648 §6, without padding. */
export function toBase32(bytes: Buffer): string {
  let [bits, held, text] = [0, 0, ''];
  for (const byte of bytes) {
    held = ((held << 8) | byte) & 0xfff;
    bits += 8;
    for (; bits >= 5; bits -= 5) text += BASE32[(held >> (bits - 5)) & 31];
  }
  return bits > 0 ? text + BASE32[(held << (5 - bits)) & 31] : text;
}

/** What a QR code for an authenticator holds (the Key URI format). */
export function totpUri({ secret, account }: { readonly secret: Buffer; readonly account: string }): string {
  const query = `secret=${toBase32(secret)}&issuer=Wardbeat&algorithm=SHA1&digits=${TOTP.digits}&period=${TOTP.stepSeconds}`;
  return `otpauth://totp/Wardbeat:${encodeURIComponent(account)}?${query}`;
}
