/** An IP address as a socket tells it, IPv4 in its own form instead of its IPv6 mapping. */
export function plainAddress(address: string): string {
  return address.replace(/^::ffff:(?=\d+\.)/i, '');
}

/** A link-local address without the interface that it was seen on (RFC 4007 §11). */
export function withoutZone(address: string): string {
  return address.replace(/%.*$/, '');
}
