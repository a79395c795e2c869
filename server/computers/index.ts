export { composeComputers, type ComputersDeps } from './compose-computers.js';
export { computerDependents } from './computer-dependents.js';
export { ComputerEntity, ComputerRevisionEntity } from './computer-entity.js';
export type { Computer, Labels, Power } from './computer.js';
