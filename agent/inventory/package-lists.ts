/** Readers of package databases; pure. */
import { MAX_ITEM_TEXT, type PackageItem } from '../../protocol/inventory-messages.js';
import { toStorableCut } from '../storable.js';

interface BlockFields {
  readonly source: PackageItem['source'];
  readonly name: string;
  readonly version: string;
  readonly architecture: string;
  /** A field and what it must end in for the package to be there. */
  readonly state?: { readonly field: string; readonly ending: string };
}

/** /var/lib/dpkg/status (deb-control(5)); what was removed and only left its configuration is not installed. */
export const DPKG_FIELDS: BlockFields = {
  source: 'dpkg',
  name: 'Package: ',
  version: 'Version: ',
  architecture: 'Architecture: ',
  state: { field: 'Status: ', ending: ' installed' },
};

/** /lib/apk/db/installed. */
export const APK_FIELDS: BlockFields = { source: 'apk', name: 'P:', version: 'V:', architecture: 'A:' };

/** The packages of a list of blocks, one for each. */
export function* readBlocks(text: string, fields: BlockFields): Generator<PackageItem> {
  for (let from = 0; from < text.length;) {
    const end = text.indexOf('\n\n', from);
    const until = end < 0 ? text.length : end;
    const item = readBlock(text.slice(from, until), fields);
    if (item) yield item;
    from = until + 2;
  }
}

function readBlock(
  block: string,
  { source, name, version, architecture, state }: BlockFields,
): PackageItem | undefined {
  const isThere = !state || valueOf(block, state.field).endsWith(state.ending);
  return isThere
    ? toPackage(source, [valueOf(block, name), valueOf(block, version), valueOf(block, architecture)])
    : undefined;
}

/** Of a line that begins with the field; continuation lines begin with a space and are none. */
function valueOf(block: string, field: string): string {
  const at = block.startsWith(field) ? 0 : block.indexOf(`\n${field}`) + 1;
  if (at === 0 && !block.startsWith(field)) return '';
  const end = block.indexOf('\n', at);
  return block.slice(at + field.length, end < 0 ? undefined : end).trim();
}

export const RPM_FORMAT = '%{NAME}\\t%{EVR}\\t%{ARCH}\\n';

/** What `rpm -qa` says by `RPM_FORMAT`; keys that rpm keeps among the packages are none. */
export function* readRpmLines(text: string): Generator<PackageItem> {
  for (const line of text.split('\n')) {
    const [name = '', version = '', architecture = ''] = line.split('\t');
    const item = name === 'gpg-pubkey' ? undefined : toPackage('rpm', [name, version, architecture]);
    if (item) yield item;
  }
}

function toPackage(
  source: PackageItem['source'],
  [name, version, architecture]: readonly [string, string, string],
): PackageItem | undefined {
  if (name === '' || version === '') return undefined;
  const cut = (text: string): string => toStorableCut(text, MAX_ITEM_TEXT);
  return { name: cut(name), version: cut(version), architecture: cut(architecture), source };
}
