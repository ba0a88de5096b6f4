import { run, type Exec } from '../../../lib/host/exec.ts';
import { hostSysfs, type Sysfs } from '../../../lib/host/sysfs.ts';

/** Effects that a program may still have before it is killed. */
let left = Infinity;
let killed: () => void = () => undefined;

/** Values, and folders of attributes, that are not written: to see what the kernel does without. */
export const omitted = new Set<string>();
const isOmitted = (path: string, value: string): boolean =>
  omitted.has(value) || omitted.has(path.split('/').at(-2) ?? '');

/** Nothing that stands behind an effect that never returns is done, and no `finally` runs: as after a kill. */
async function effect<T>(work: () => Promise<T>): Promise<T> {
  if (left <= 0) {
    killed();
    return await new Promise<never>(() => undefined);
  }
  left--;
  return await work();
}

/** The machine, as a program sees it that can be killed between any two of its effects. */
export const sysfs: Sysfs = {
  ...hostSysfs,
  writeAttribute: (path, value) =>
    effect(() => (isOmitted(path, value) ? Promise.resolve() : hostSysfs.writeAttribute(path, value))),
};
export const exec: Exec = (command, args, options) => effect(() => run(command, args, options));

/** Kills a sequence after so many of its effects: writes to sysfs, and programs run. */
export async function killAfter(effects: number, sequence: () => Promise<unknown>): Promise<'finished' | 'killed'> {
  const death = new Promise<'killed'>((resolve) => (killed = () => resolve('killed')));
  left = effects;
  try {
    return await Promise.race([sequence().then(() => 'finished' as const), death]);
  } finally {
    left = Infinity;
  }
}
