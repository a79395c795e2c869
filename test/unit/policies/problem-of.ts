import { Problem } from '../../../lib/problem.js';

/** The problem that an action throws; fails where it throws none or something else. */
export function problemOf(action: () => unknown): Problem {
  try {
    action();
  } catch (error) {
    if (error instanceof Problem) return error;
    throw error;
  }
  throw new Error('nothing was refused');
}
