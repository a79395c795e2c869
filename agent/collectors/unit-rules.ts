/** What `systemctl show` says of units (systemd.unit(5), org.freedesktop.systemd1(5)); pure. */

export interface UnitState {
  readonly state: 'online' | 'offline' | 'unknown';
  readonly detail: string;
}

const SUFFIXES = /\.(?:service|socket|target|device|mount|automount|swap|timer|path|slice|scope)$/;
/** The characters of unit names and `@`; a first `-` would read as an option. Globs and paths are not names. */
const UNIT_NAME = /^[A-Za-z0-9:_.\\@][A-Za-z0-9:_.\\@-]*$/;
const MAX_UNIT_NAME = 255;
const RUNNING = new Set(['active', 'reloading', 'refreshing']);

/** The full name of the unit that `match` means (`nginx` is `nginx.service`), or undefined if no unit can be called so. */
export function toUnitName(match: string): string | undefined {
  const name = SUFFIXES.test(match) ? match : `${match}.service`;
  return UNIT_NAME.test(name) && name.length <= MAX_UNIT_NAME ? name : undefined;
}

/** The properties that `parseUnitBlocks` reads. */
export const UNIT_PROPERTIES = ['Id', 'LoadState', 'ActiveState', 'SubState'] as const;

type UnitBlock = ReadonlyMap<string, string>;

/**
 * Reads the output of `systemctl show --property=… -- UNIT…`: one block per unit, in the order asked. Where a block is
 * missing the others are found by their `Id`. Absent units are absent in the answer.
 */
export function parseUnitBlocks(output: string, units: readonly string[]): ReadonlyMap<string, UnitState> {
  const blocks = output
    .split(/\n{2,}/)
    .map(toBlock)
    .filter((block) => block.has('ActiveState'));
  const found = units.map((unit, index): [string, UnitBlock | undefined] => [
    unit,
    blocks.length === units.length ? blocks[index] : blocks.find((block) => block.get('Id') === unit),
  ]);
  return new Map(found.flatMap(([unit, block]) => (block ? [[unit, toUnitState(block)] as const] : [])));
}

function toBlock(text: string): UnitBlock {
  const lines = [...text.matchAll(/^([A-Za-z]+)=(.*)$/gm)];
  return new Map(lines.map(([, key = '', value = '']) => [key, value.trim()]));
}

/** Only a unit that is up counts as online: one that is starting, or waits for its next start, does not protect. */
function toUnitState(block: UnitBlock): UnitState {
  const [load, active, sub] = [block.get('LoadState'), block.get('ActiveState') ?? '', block.get('SubState') ?? ''];
  if (load === 'not-found') return { state: 'offline', detail: 'no such unit' };
  const detail = `${active} (${sub})`.slice(0, 256);
  if (RUNNING.has(active)) return { state: 'online', detail };
  return { state: 'offline', detail: load === 'masked' ? `masked, ${detail}` : detail };
}
