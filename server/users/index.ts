export { createFirstAdministrator, type FirstAdministrator } from './first-administrator.js';
export { createFirstPasswordFile } from './first-password-file.js';
export { createResetPasswordFiles, type ResetPasswordFiles } from './reset-password-file.js';
export { isUserNamed } from './user-repository.js';
export { createPasswordHasher, type PasswordHasher } from './password-hasher.js';
export { userDependents } from './user-dependents.js';
export { userRoutes } from './user-routes.js';
export { createUserService, type UserService } from './user-service.js';
export type { User } from './user.js';
