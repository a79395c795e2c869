export { composeFirewall, type FirewallDeps } from './compose-firewall.js';
export { findIsolation } from './firewall-query.js';
