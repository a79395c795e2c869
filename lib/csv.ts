/** A cell: numbers as they are, null as an empty one. */
export type Cell = string | number | null;

/** What a spreadsheet would take for the begin of a formula. */
const FORMULA = /^[=+\-@\t\r]/;
const NEEDS_QUOTES = /[",\r\n]/;

/**
 * One record of RFC 4180, its line end included. A text that a spreadsheet would run as a formula is led by an apostrophe,
 * also where blanks stand before it.
 */
export function csvRecord(cells: readonly Cell[]): string {
  return `${cells.map(toField).join(',')}\r\n`;
}

function toField(cell: Cell): string {
  if (cell === null) return '';
  if (typeof cell === 'number') return String(cell);
  const inert = FORMULA.test(cell) || FORMULA.test(cell.trimStart()) ? `'${cell}` : cell;
  return NEEDS_QUOTES.test(inert) ? `"${inert.replaceAll('"', '""')}"` : inert;
}
