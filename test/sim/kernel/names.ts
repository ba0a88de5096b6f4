import { uuidV5 } from '../../../lib/api/names.ts';

const NAMESPACE = '6ba7b812-9dad-11d1-80b4-00c04fd430c8';

/** The boot id of a machine's so-manieth boot. */
export function bootIdOf(machine: string, boots: number): string {
  return uuidV5(NAMESPACE, `${machine} ${boots}`);
}
