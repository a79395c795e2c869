export type { AuditEntry, AuditLog } from './audit.js';
export { createAuditLog } from './audit-log.js';
export { auditRoutes } from './audit-routes.js';
