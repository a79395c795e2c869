/** An IP address as a socket tells it, IPv4 in its own form instead of its IPv6 mapping. */
export function plainAddress(address: string): string {
  return address.replace(/^::ffff:(?=\d+\.)/i, '');
}
