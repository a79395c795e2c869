import { fork, type ChildProcess, type Serializable } from 'node:child_process';
import { fileURLToPath } from 'node:url';

/** A helper process of the bench that answers one message with one message, in order. */
export interface BenchChild {
  readonly pid: number;
  /** Rejects when the process ends first. */
  ask<T>(message: object): Promise<T>;
  stop(): void;
}

export function startBenchChild(name: 'load-client' | 'bare-server' | 'abuse-client'): BenchChild {
  const path = fileURLToPath(new URL(`./${name}.js`, import.meta.url));
  // Its stdout must not mix with the bench's own.
  const child = fork(path, [], { serialization: 'advanced', stdio: ['ignore', 'ignore', 'inherit', 'ipc'] });
  return {
    pid: child.pid ?? 0,
    ask: <T>(message: object) => ask<T>(child, name, message),
    stop: () => void child.kill('SIGTERM'),
  };
}

function ask<T>(child: ChildProcess, name: string, message: object): Promise<T> {
  return new Promise((resolve, reject) => {
    const ended = (): void => reject(new Error(`The process ${name} ended`));
    child.once('exit', ended);
    child.once('message', (answer) => {
      child.off('exit', ended);
      resolve(answer as T);
    });
    child.send(message as Serializable, (error) => error && reject(error));
  });
}
