import type { Context } from 'mocha';

/** Skips a test whose OS tool is absent; the reason is named at the end of the run. */
export function skipFor(context: Context, needs: string): never {
  if (context.test) Object.assign(context.test, { skipReason: needs });
  if (context.currentTest) Object.assign(context.currentTest, { skipReason: needs });
  return context.skip();
}
