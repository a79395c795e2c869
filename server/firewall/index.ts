export { composeFirewall, type FirewallDeps } from './compose-firewall.js';
