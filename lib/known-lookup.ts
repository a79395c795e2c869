import { isIP, type LookupFunction } from 'node:net';

/** A lookup of a name whose addresses are known already. */
export function lookupOf(addresses: readonly string[]): LookupFunction {
  const known = addresses.map((address) => ({ address, family: isIP(address) }));
  return (hostname, { all }, callback) => {
    const [first] = known;
    if (!first) {
      const error = Object.assign(new Error(`no address is known of ${hostname}`), { code: 'ENOTFOUND' });
      callback(error, '');
    } else if (all) callback(null, known);
    else callback(null, first.address, first.family);
  };
}
