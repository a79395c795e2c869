import { Problem } from '../../lib/problem.js';
import { uniqueViolation } from './database-errors.js';

/** Stores something that bears a name of its own. Throws `name-taken`; `noun` says of what another one bears it. */
export async function refusingTakenName(
  { noun, name }: { readonly noun: string; readonly name: string },
  write: () => Promise<unknown>,
): Promise<void> {
  try {
    await write();
  } catch (error) {
    if (uniqueViolation(error) === undefined) throw error;
    throw new Problem('name-taken', { detail: `${noun} is named ${name} already.` }, error);
  }
}
