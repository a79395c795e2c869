/** Where the agent's database keeps its commands: `c!` and the id. */
const PREFIX = 'c!';

export const ALL_COMMANDS = { gte: PREFIX, lte: `${PREFIX}~` };

export function commandKey(id: string): string {
  return `${PREFIX}${id}`;
}
