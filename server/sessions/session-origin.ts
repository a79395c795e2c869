const AGENT_MAX = 256;

/** What a browser calls itself, as far as it is kept: one short line that can be shown. */
export function clampedText(text: string | null): string | null {
  if (text === null) return null;
  // oxlint-disable-next-line no-control-regex
  const shown = text.toWellFormed().replaceAll(/[\u0000-\u001f\u007f-\u009f]/g, ' ');
  return [...shown].slice(0, AGENT_MAX).join('');
}
