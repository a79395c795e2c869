const MOST_LENGTH = 1024 * 1024;
const LONGEST_LINE = 8192;

/** The last lines of the log, for the commands that ask for them: at most a mebibyte, in memory. */
export class LogTail {
  readonly #lines: string[] = [];
  #length = 0;

  readonly add = (line: string): void => {
    const kept = line.trimEnd().slice(0, LONGEST_LINE);
    this.#lines.push(kept);
    this.#length += kept.length;
    while (this.#length > MOST_LENGTH) this.#length -= this.#lines.shift()?.length ?? 0;
  };

  /** The newest lines, oldest first. */
  last(count: number): readonly string[] {
    return count === 0 ? [] : this.#lines.slice(-count);
  }
}
