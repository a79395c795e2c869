import { boundRoles } from '../access/bound-roles.js';

export const apiKeyDependents = boundRoles({ noun: 'apiKeys', table: 'api_keys', called: 'API key' });
