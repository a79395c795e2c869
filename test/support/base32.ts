const LETTERS = 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567';

/** What a text of RFC 4648 §6 without padding stands for. */
export function fromBase32(text: string): Buffer {
  const bits = [...text].map((letter) => LETTERS.indexOf(letter).toString(2).padStart(5, '0')).join('');
  return Buffer.from((bits.match(/.{8}/g) ?? []).map((byte) => Number.parseInt(byte, 2)));
}
