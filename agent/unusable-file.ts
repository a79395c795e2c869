/** A file or folder of the data directory cannot be used as it is; the message names it and says what to do. */
export class UnusableFile extends Error {
  constructor(
    readonly path: string,
    fault: string,
    remedy: string,
  ) {
    super(`${path} ${fault}; ${remedy}`);
    this.name = 'UnusableFile';
  }

  static damaged(path: string, fault: string): UnusableFile {
    return new UnusableFile(path, fault, 'restore it from a copy, or remove it and enroll again with a new token');
  }
}
