import { boundRoles } from '../access/bound-roles.js';

export const userDependents = boundRoles({ noun: 'users', table: 'users', called: 'user' });
