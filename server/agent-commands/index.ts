export { CommandActionBody } from './command-dto.js';
export { createUploads } from './command-files.js';
export { createCommandJob, type CommandJob } from './command-job.js';
export { countOpen, endCommandsOf, insertCommands, lockLiveRows, refreshFlags } from './command-repository.js';
export { checkRequest, digestOf, timeFaults, type CheckedRequest, type CommandRequest } from './command-request.js';
export { commandRoutes, type CommandRoutesDeps } from './command-routes.js';
export { auditEntryOf, MOST_OPEN, type Wake } from './command-service.js';
export type { Command } from './command.js';
export { createReleaseCodes, type ReleaseCodes } from './release-codes.js';
