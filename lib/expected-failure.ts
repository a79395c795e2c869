/** What the operator can mend: the message is one line that tells what is wrong and what to do. No bug, so no stack. */
export class ExpectedFailure extends Error {
  constructor(message: string, cause?: unknown) {
    super(message, cause === undefined ? {} : { cause });
    this.name = 'ExpectedFailure';
  }
}
