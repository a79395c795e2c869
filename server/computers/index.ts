export { composeComputers, type ComputersDeps } from './compose-computers.js';
export { computerDependents } from './computer-dependents.js';
export { LabelFilters, splitList } from './computer-dto.js';
export { ComputerEntity, ComputerRevisionEntity } from './computer-entity.js';
export type { Computer, Labels, Power } from './computer.js';
export { computerConditions, parseFilters, type AskedFilters, type ComputerFilters } from './computer-list-query.js';
export { labelFilterFault, parseLabelFilter } from './computer-rules.js';
