import mocha, { type Runner, type MochaOptions } from 'mocha';

/**
 * mocha's spec reporter, then every skipped test with the reason it gave, a line for every failed one, then the line
 * `N passed, N failed, N skipped`.
 * A test that needs an absent tool calls `skipFor(this, reason)`.
 */
export default class SummaryReporter extends mocha.reporters.Spec {
  constructor(runner: Runner, options: MochaOptions) {
    super(runner, options);
    const skipped: string[] = [];
    runner.on('pending', (test) => {
      const reason =
        (test as { skipReason?: string }).skipReason ??
        (test.parent as { skipReason?: string } | undefined)?.skipReason;
      skipped.push(`skipped: ${test.fullTitle()}${reason ? ` (needs ${reason})` : ''}`);
    });
    const failed: string[] = [];
    runner.on('fail', (test, error: unknown) => {
      const [message = ''] = String(error).split('\n');
      failed.push(`failed: ${test.fullTitle()}: ${message}`);
    });
    process.once('exit', () => {
      const {
        passes = 0,
        failures = 0,
        pending = 0,
      } = this.stats as { passes?: number; failures?: number; pending?: number };
      for (const line of [...skipped, ...failed]) console.log(line);
      console.log(`${passes} passed, ${failures} failed, ${pending} skipped`);
    });
  }
}
