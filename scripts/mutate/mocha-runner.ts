import { INSTRUMENTER_CONSTANTS, type InstrumenterContext, type StrykerOptions } from '@stryker-mutator/api/core';
import { commonTokens, declareFactoryPlugin, PluginKind, tokens } from '@stryker-mutator/api/plugin';
import {
  determineHitLimitReached,
  DryRunStatus,
  TestStatus,
  toMutantRunResult,
  type DryRunOptions,
  type DryRunResult,
  type MutantRunOptions,
  type MutantRunResult,
  type TestResult,
  type TestRunner,
  type TestRunnerCapabilities,
} from '@stryker-mutator/api/test-runner';
import { readdirSync } from 'node:fs';
import { resolve } from 'node:path';
import Mocha from 'mocha';

const NAMESPACE = INSTRUMENTER_CONSTANTS.NAMESPACE;

/** The instrumented code and this runner meet in one global object. */
function instrumenter(): InstrumenterContext {
  const holder = globalThis as unknown as Record<string, InstrumenterContext | undefined>;
  return (holder[NAMESPACE] ??= {});
}

/**
 * Runs the unit tests of `dist/` in this process, again and again, as Stryker's own mocha plugin does; that one does
 * not know the mocha of this project. Modules cannot be loaded anew, so Stryker starts a new process where it must.
 */
class MochaRunner implements TestRunner {
  readonly #folders: readonly string[];
  #mocha = new Mocha();

  constructor(folders: readonly string[]) {
    this.#folders = folders;
  }

  capabilities(): TestRunnerCapabilities {
    return { reloadEnvironment: false };
  }

  async init(): Promise<void> {
    this.#mocha = new Mocha({ timeout: 10_000, reporter: SilentReporter, rootHooks: { beforeEach: rememberTest } });
    for (const file of this.#folders.flatMap(testsIn)) this.#mocha.addFile(file);
    this.#mocha.cleanReferencesAfterRun(false);
    await this.#mocha.loadFilesAsync();
  }

  async dryRun({ coverageAnalysis, disableBail }: Pick<DryRunOptions, 'coverageAnalysis' | 'disableBail'>) {
    const result = await this.#run({ disableBail, testFilter: undefined });
    const { mutantCoverage } = instrumenter();
    if (result.status !== DryRunStatus.Complete || coverageAnalysis === 'off' || !mutantCoverage) return result;
    return { ...result, mutantCoverage };
  }

  async mutantRun({ activeMutant, testFilter, disableBail, hitLimit }: MutantRunOptions): Promise<MutantRunResult> {
    const context = instrumenter();
    context.activeMutant = activeMutant.id;
    if (hitLimit !== undefined) Object.assign(context, { hitLimit, hitCount: 0 });
    else delete context.hitLimit;
    return toMutantRunResult(await this.#run({ disableBail, testFilter }));
  }

  #run({ disableBail, testFilter }: { disableBail: boolean; testFilter: string[] | undefined }): Promise<DryRunResult> {
    const filter = testFilter && new Set(testFilter);
    this.#mocha.grep(filter ? ({ test: (title: string) => filter.has(title) } as RegExp) : /.*/s);
    this.#mocha.suite.bail(!disableBail);
    const tests: TestResult[] = [];
    return new Promise((done) => {
      const runner = this.#mocha.run(() => {
        const { hitCount, hitLimit } = instrumenter();
        done(determineHitLimitReached(hitCount, hitLimit) ?? { status: DryRunStatus.Complete, tests });
      });
      const note = (test: Mocha.Test) => ({
        id: test.fullTitle(),
        name: test.fullTitle(),
        timeSpentMs: test.duration ?? 0,
      });
      runner.on('pass', (test) => tests.push({ ...note(test), status: TestStatus.Success }));
      runner.on('pending', (test) => tests.push({ ...note(test), status: TestStatus.Skipped }));
      runner.on('fail', (test, error: Error) =>
        tests.push({ ...note(test), status: TestStatus.Failed, failureMessage: error.stack ?? String(error) }),
      );
    });
  }
}

class SilentReporter extends Mocha.reporters.Base {}

function testsIn(folder: string): string[] {
  const names = readdirSync(folder, { recursive: true, encoding: 'utf8' });
  return names
    .filter((name) => name.endsWith('.test.js'))
    .sort()
    .map((name) => resolve(folder, name));
}

function rememberTest(this: Mocha.Context): void {
  instrumenter().currentTestId = this.currentTest?.fullTitle() ?? '';
}

type Options = StrykerOptions & { readonly testFolders?: readonly string[] };

function createRunner(options: Options): TestRunner {
  return new MochaRunner(options.testFolders ?? []);
}
createRunner.inject = tokens(commonTokens.options);

export const strykerPlugins = [declareFactoryPlugin(PluginKind.TestRunner, 'wardbeat-mocha', createRunner)];
