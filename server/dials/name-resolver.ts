import { lookup } from 'node:dns/promises';
import { DialFailure, OwnFailure, toDialFailure } from './dial-failure.js';
import type { Resolve } from './dial-target.js';

export type Lookup = (host: string) => Promise<readonly { readonly address: string }[]>;

/** The system's resolver works in a thread of the pool that files need too: a slow one must not take them all. */
const AT_ONCE = 2;

const systemLookup: Lookup = (host) => lookup(host, { all: true, verbatim: true });

interface Question {
  readonly answer: Promise<readonly string[]>;
  /** Whether it is this name that keeps everybody waiting. */
  hasBegun: boolean;
}

/** Resolves by the system (hosts file included), a few names at a time; the same name is asked for once at a time. */
export function createNameResolver(find: Lookup = systemLookup): Resolve {
  const asked = new Map<string, Question>();
  const waiting: (() => void)[] = [];
  let places = AT_ONCE;
  const inTurn = async (host: string): Promise<readonly string[]> => {
    if (places > 0) places -= 1;
    else await new Promise<void>((go) => waiting.push(go));
    const question = asked.get(host);
    if (question) question.hasBegun = true;
    try {
      // Not before the question is known: its end forgets it.
      const found = await Promise.resolve(host).then(find);
      return found.map(({ address }) => address);
    } catch (error) {
      throw toDialFailure(error);
    } finally {
      asked.delete(host);
      const next = waiting.shift();
      if (next) next();
      else places += 1;
    }
  };
  const ask = (host: string): Question => {
    const question = { hasBegun: places > 0, answer: inTurn(host) };
    asked.set(host, question);
    return question;
  };
  return (host, signal) => {
    const question = asked.get(host) ?? ask(host);
    return Promise.race([question.answer, rejection(signal, question)]);
  };
}

function rejection(signal: AbortSignal, question: Question): Promise<never> {
  const late = (): DialFailure =>
    question.hasBegun
      ? new DialFailure('dns', 'the name was not resolved in time')
      : new OwnFailure('other names were being resolved');
  return new Promise((_resolve, reject) => {
    const fail = (): void => reject(late());
    if (signal.aborted) fail();
    signal.addEventListener('abort', fail, { once: true });
  });
}
