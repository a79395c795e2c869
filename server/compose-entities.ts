import { ApiKeyEntity } from './api-keys/api-key-entity.js';
import { ComputerEntity, ComputerRevisionEntity } from './computers/computer-entity.js';
import type { DataSourceOptions } from './database/data-source.js';
import { PolicyEntity, PolicyRevisionEntity } from './policies/policy-entity.js';
import { SessionEntity } from './sessions/session-entity.js';
import { UserEntity } from './users/user-entity.js';

/** The mapped tables of all features. */
export function composeEntities(): DataSourceOptions['entities'] {
  return [
    PolicyEntity,
    PolicyRevisionEntity,
    ComputerEntity,
    ComputerRevisionEntity,
    UserEntity,
    SessionEntity,
    ApiKeyEntity,
  ];
}
