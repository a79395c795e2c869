const DEEPEST_CAUSE = 5;

/**
 * What may be logged of an error: never its further members, among which drivers keep a statement's parameters and the
 * whole connection.
 */
export function errorFacts(error: unknown, depth = 0): Readonly<Record<string, unknown>> {
  if (!(error instanceof Error)) return { message: 'something else than an Error was thrown' };
  const { name, message, stack, cause } = error;
  const code = (error as { code?: unknown }).code;
  const below = cause === undefined || depth >= DEEPEST_CAUSE ? {} : { cause: errorFacts(cause, depth + 1) };
  return { type: name, message, ...(code === undefined ? {} : { code }), stack, ...below };
}
