/** Controls, separators, marks of direction, and what has no width: two names that look alike must be alike. */
const UNSEEN = /[\p{Cc}\p{Zl}\p{Zp}\u00ad\u061c\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufeff]/u;

/** What is wrong with a name that people read; undefined for nothing. */
export function nameFault(name: string): string | undefined {
  if (UNSEEN.test(name)) return 'must not contain characters that cannot be seen';
  return name.trim() === name ? undefined : 'must not begin or end with a blank';
}

/** Whether nothing of the text can be seen. */
export function isBlank(text: string): boolean {
  return text.replaceAll(new RegExp(UNSEEN, 'gu'), '').trim() === '';
}

/** The nearest name without a fault, of at most `max` code points; the fallback where nothing is left. */
export function cleanName(
  name: string,
  { max, fallback }: { readonly max: number; readonly fallback: string },
): string {
  const seen = name.toWellFormed().replaceAll(new RegExp(UNSEEN, 'gu'), '').trim();
  return [...seen].slice(0, max).join('').trim() || fallback;
}

/** Characters as Unicode and PostgreSQL count them. */
export function lengthInCodePoints(text: string): number {
  let count = 0;
  for (const _character of text) count += 1;
  return count;
}
