import { uuidV5 } from '../../../lib/api/names.ts';

const NAMESPACE = '6ba7b812-9dad-11d1-80b4-00c04fd430c8';

const known = new Map<string, string>();

/** The boot id of a machine's so-manieth boot. */
export function bootIdOf(machine: string, boots: number): string {
  const name = `${machine} ${boots}`;
  let id = known.get(name);
  if (id === undefined) known.set(name, (id = uuidV5(NAMESPACE, name)));
  return id;
}
