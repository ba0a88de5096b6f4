import type { ProgramHandle, Turns } from '../scheduler.ts';

type Method = (...args: unknown[]) => Promise<unknown>;

/** A port whose methods named in `effects` are turns of a program; the others are looks, and answer at once. */
export function asTurns<T extends object>(
  port: T,
  turns: Turns,
  program: ProgramHandle,
  effects: ReadonlySet<string>,
): T {
  const cache = new Map<string, Method>();
  return new Proxy(port, {
    get(target, name) {
      const found: unknown = Reflect.get(target, name, target);
      if (typeof found !== 'function' || typeof name !== 'string') return found;
      let method = cache.get(name);
      if (!method) {
        const call = (found as Method).bind(target);
        method = effects.has(name) ? (...args) => turns.turn(program, name, () => call(...args)) : call;
        cache.set(name, method);
      }
      return method;
    },
  });
}
